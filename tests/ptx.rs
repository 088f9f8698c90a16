//! What ptxas makes of the kernels on architectures old and new: no kernel may spill registers or need a stack.
use std::path::Path;
use std::process::Command;

/// The oldest served, consumer GPUs, the H200, and one newer.
const ARCHITECTURES: [&str; 4] = ["sm_80", "sm_89", "sm_90a", "sm_120"];

/// Shared memory of a block on consumer GPUs, with static allocation: 48 KB.
const SHARED: usize = 48 << 10;

#[test]
fn no_kernel_spills() {
    let Some(ptxas) = option_env!("MVAE_PTXAS") else {
        return println!("ptx: skipped, no nvcc");
    };
    let ptx = Path::new(env!("OUT_DIR")).join("kernels.ptx");
    let folder = tempfile::tempdir().unwrap();
    for architecture in ARCHITECTURES {
        let mut command = Command::new(ptxas);
        command.args(["-v", "-arch", architecture, "-o"]).arg(folder.path().join("kernels.cubin")).arg(&ptx);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{architecture}: {text}");
        let mut kernels = 0;
        let mut name = "";
        for line in text.lines() {
            let number = |before: &str| -> usize {
                let end = line.find(before).unwrap_or(0);
                line[..end].rsplit([' ', ',']).find(|word| !word.is_empty()).and_then(|w| w.parse().ok()).unwrap_or(0)
            };
            if let Some((_, rest)) = line.split_once("Compiling entry function '") {
                name = rest.split('\'').next().unwrap();
                kernels += 1;
            }
            assert_eq!(number(" bytes stack frame"), 0, "{architecture}: {name}: {line}");
            assert_eq!(number(" bytes spill stores"), 0, "{architecture}: {name}: {line}");
            assert!(number(" bytes smem") <= SHARED, "{architecture}: {name}: {line}");
        }
        assert!(kernels > 20, "{architecture}: {kernels} kernels in\n{text}");
    }
}
