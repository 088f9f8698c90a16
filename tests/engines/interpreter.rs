//! The interpreter of PTX (tests/driver/ptx) by itself: arithmetic, lanes that go different ways,
//! and memory as late and as stale as a device may have it.
use ptx::{Device, Image, Options, launch};

/// Memory in whole lines.
#[repr(align(128))]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Line([u32; 32]);

/// Runs a kernel of this body over memory whose address is `%rd0`; returns the memory.
fn run(body: &str, memory: &[Line], options: Options) -> Result<Vec<Line>, String> {
    let image = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 k_0)\n.maxntid 256, 1, 1\n{{\n\
         .reg .pred %p<8>;\n.reg .b32 %r<64>;\n.reg .f32 %f<64>;\n.reg .b64 %rd<64>;\n.reg .f64 %fd<8>;\n\
         .shared .align 8 .b8 own[256];\nld.param.u64 %rd0, [k_0];\n{body}\nret;\n}}\n"
    );
    let mut memory = memory.to_vec();
    let address = memory.as_mut_ptr() as u64;
    let mut device = Device::default();
    device.add(address, size_of_val(&memory[..]) as u64, false);
    let image = Image::new(&image, &mut device).map_err(|wrong| wrong.to_string())?;
    let kernel = image.kernel("k").unwrap();
    launch(kernel, &address.to_le_bytes(), options, &mut device).map_err(|fault| image.describe(kernel, &fault))?;
    Ok(memory)
}

const ONE: Options = Options { blocks: 1, threads: 32, more: 0, together: false, early: false, strict: true, seed: 1 };

/// The word that these instructions leave in `%r0`, in each lane.
fn words(body: &str) -> [u32; 32] {
    let store =
        "mov.u32 %r63, %tid.x;\nmul.wide.u32 %rd63, %r63, 4;\nadd.s64 %rd63, %rd0, %rd63;\nst.global.u32 [%rd63], %r0;";
    run(&format!("{body}\n{store}"), &[Line([0; 32])], ONE).unwrap()[0].0
}

fn number(body: &str) -> f32 {
    f32::from_bits(words(&format!("{body}\nmov.b32 %r0, %f0;"))[0])
}

#[test]
fn numbers_are_rounded_as_the_instruction_says() {
    // 1 + 2^-24 lies between 1 and the number after it.
    assert_eq!(number("add.rn.f32 %f0, 0f3F800000, 0f33800001;"), 1.0f32.next_up());
    assert_eq!(number("add.rz.f32 %f0, 0f3F800000, 0f33800001;"), 1.0);
    assert_eq!(number("add.rz.f32 %f0, 0fBF800000, 0fB3800001;"), -1.0);
    assert_eq!(number("fma.rm.f32 %f0, 0fBF800000, 0f3F800000, 0fB3000000;"), (-1.0f32).next_down());
    assert_eq!(number("fma.rn.f32 %f0, 0fBF800000, 0f3F800000, 0fB3000000;"), -1.0);
    // x x - 1 for the number after 1: a sum rounded twice would lose the last bit.
    let x = 1.0f32.next_up();
    assert_eq!(number("fma.rn.f32 %f0, 0f3F800001, 0f3F800001, 0fBF800000;"), x.mul_add(x, -1.0));
    assert_eq!(words("cvt.rni.s32.f32 %r0, 0f40200000;")[0], 2);
    assert_eq!(words("cvt.rn.bf16x2.f32 %r0, 0f3F808000, 0f3F818000;")[0], 0x3f80_3f82);
    assert_eq!(number("cvt.sat.f32.f32 %f0, 0f7FC00000;"), 0.0);
    assert_eq!(words("bfi.b32 %r0, 0xAB, 0xFFFFFFFF, 8, 8;")[0], 0xffff_abff);
    assert_eq!(words("shl.b32 %r0, 1, 32;")[0], 0);
    let both = "setp.lt.f32 %p0, 0f7FC00000, 0f00000000;\nsetp.ltu.f32 %p1, 0f7FC00000, 0f00000000;\n";
    assert_eq!(
        words(&format!("{both}selp.u32 %r1, 1, 0, %p0;\nselp.u32 %r2, 2, 0, %p1;\nor.b32 %r0, %r1, %r2;"))[0],
        2
    );
}

#[test]
fn lanes_go_different_ways_and_meet_again() {
    // Each lane goes through the loop as often as its number says; then all take part in a shuffle.
    let body = "mov.u32 %r1, %tid.x;\nmov.u32 %r0, 0;\nmov.u32 %r2, 0;\nLOOP:\nsetp.ge.u32 %p0, %r2, %r1;\n@%p0 bra DONE;\n\
                add.u32 %r0, %r0, 3;\nadd.u32 %r2, %r2, 1;\nbra LOOP;\nDONE:\nshfl.sync.down.b32 %r0|%p1, %r0, 1, 31, -1;";
    let got = words(body);
    assert!((0..31).all(|lane| got[lane] == 3 * (lane as u32 + 1)) && got[31] == 93, "{got:?}");
    // A lane that has gone takes no part.
    let gone = body.replace("LOOP:", "setp.eq.u32 %p2, %r1, 7;\n@%p2 ret;\nLOOP:");
    let fault = run(&gone, &[Line([0; 32])], ONE).unwrap_err();
    assert!(fault.contains("wait for others that do not come"), "{fault}");
}

/// Two blocks: block 0 writes a word and says so, block 1 has read the word before, waits until it
/// is said, and copies it to the next line.
fn message(released: &str, acquired: &str, strict: bool) -> Result<u32, String> {
    let body = format!(
        "mov.u32 %r1, %tid.x;\nsetp.ne.u32 %p0, %r1, 0;\n@%p0 ret;\nmov.u32 %r2, %ctaid.x;\nsetp.ne.u32 %p1, %r2, 0;\n\
         @%p1 bra SECOND;\nst.global.u32 [%rd0], 5;\n{released}\nret;\nSECOND:\n{}WAIT:\n\
         ld.relaxed.gpu.global.u32 %r4, [%rd0+128];\nsetp.eq.u32 %p2, %r4, 0;\n@%p2 bra WAIT;\n{acquired}\n\
         ld.global.u32 %r5, [%rd0];\nst.global.u32 [%rd0+256], %r5;",
        if strict { "" } else { "ld.global.u32 %r3, [%rd0];\n" }
    );
    let options = |seed| Options { blocks: 2, together: true, strict, seed, ..ONE };
    let memory = [Line([0; 32]); 3];
    let all: Result<Vec<u32>, String> = (1..20).map(|seed| Ok(run(&body, &memory, options(seed))?[2].0[0])).collect();
    Ok(all?.into_iter().min().unwrap())
}

#[test]
fn memory_is_as_late_and_as_stale_as_it_may_be() {
    let (release, relaxed) =
        ("red.release.gpu.global.add.u32 [%rd0+128], 1;", "red.relaxed.gpu.global.add.u32 [%rd0+128], 1;");
    let fence = "fence.acq_rel.gpu;";
    for strict in [false, true] {
        assert_eq!(message(&format!("{fence}{relaxed}"), fence, strict), Ok(5));
        assert_eq!(message(release, fence, strict), Ok(5));
    }
    // What was not released does not come, and what was read before stays.
    assert_eq!(message(relaxed, fence, false), Ok(0));
    assert_eq!(message(release, "", false), Ok(0));
    for (released, acquired) in [(relaxed, fence), (release, "")] {
        let fault = message(released, acquired, true).unwrap_err();
        assert!(fault.contains("race: warp 0 of the grid, lane 0, wrote there without order"), "{fault}");
    }
}

#[test]
fn copies_come_as_late_as_the_waits_allow() {
    let copy = |wait: &str| {
        let lane = "mov.u32 %r1, %tid.x;\nmul.wide.u32 %rd1, %r1, 4;\nadd.s64 %rd2, %rd0, %rd1;\nshl.b32 %r2, %r1, 2;\n\
                    mov.u32 %r3, own;\nadd.u32 %r4, %r3, %r2;";
        let start = "cp.async.ca.shared.global [%r4], [%rd2], 4, 4;\ncp.async.commit_group;";
        let body = format!("{lane}\n{start}\n{wait}\nld.shared.u32 %r5, [%r4];\nst.global.u32 [%rd2+128], %r5;");
        let memory = [Line(std::array::from_fn(|i| i as u32)), Line([0; 32])];
        run(&body, &memory, ONE).map(|memory| memory[1])
    };
    assert_eq!(copy("cp.async.wait_group 0;"), Ok(Line(std::array::from_fn(|i| i as u32))));
    assert!(copy("cp.async.wait_group 1;").unwrap_err().contains("an asynchronous copy to this place is on its way"));
}

#[test]
fn what_is_not_known_is_named_with_its_line() {
    let fault = run("add.f32 %f0, %f1, %f2;\nvabsdiff.u32 %r0, %r1, %r2;", &[Line([0; 32])], ONE).unwrap_err();
    assert_eq!(fault, "line 15: vabsdiff.u32: unknown instruction");
}
