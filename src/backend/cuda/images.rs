//! The kernels as `build.rs` compiled them for GPUs, and which of its images a device takes.
use flate2::read::ZlibDecoder;
use std::io::Read;

/// Kernels, compiled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Image {
    /// The module's name: `kernels`, or the name of a kernel that runs all others.
    pub module: &'static str,
    /// Its architecture: `sm_90a` is machine code, which is loaded as it is; `compute_90` is PTX,
    /// which the driver compiles.
    pub architecture: &'static str,
    /// The image, compressed.
    pub bytes: &'static [u8],
}

/// All images; empty if the build found no nvcc.
pub const IMAGES: &[Image] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Version of the CUDA toolkit whose nvcc compiled the images, such as `13.0`.
pub const CUDA: &str = match option_env!("MVAE_CUDA") {
    Some(version) => version,
    None => "of unknown version",
};

impl Image {
    /// True for machine code, false for PTX.
    pub fn is_ready(&self) -> bool {
        self.architecture.starts_with("sm_")
    }

    /// The compute capability that the image was made for, and whether it serves no other.
    fn made_for(&self) -> ((i32, i32), bool) {
        let number = self.architecture.rsplit('_').next().unwrap_or_default();
        let (number, alone) = (number.trim_end_matches('a'), number.ends_with('a'));
        let number: i32 = number.parse().expect("build.rs writes numbers");
        ((number / 10, number % 10), alone)
    }

    /// True if a device of this compute capability can take the image. Machine code serves later
    /// devices of the same major number, PTX all later ones.
    fn serves(&self, capability: (i32, i32)) -> bool {
        let (made_for, alone) = self.made_for();
        let major = !self.is_ready() || made_for.0 == capability.0;
        if alone { made_for == capability } else { major && made_for <= capability }
    }

    /// Bytes of the image, with a zero at the end.
    pub fn unpacked(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ZlibDecoder::new(self.bytes).read_to_end(&mut bytes).expect("build.rs has compressed it");
        bytes.push(0);
        bytes
    }
}

/// The image of a module that serves a device best: machine code if there is any, and of its kind
/// the latest.
pub fn of<'a>(images: &'a [Image], module: &str, capability: (i32, i32)) -> Option<&'a Image> {
    let serving = images.iter().filter(|image| image.module == module && image.serves(capability));
    serving.max_by_key(|image| (image.is_ready(), image.made_for()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_takes_machine_code_of_its_kind_and_else_ptx() {
        let image = |architecture| Image { module: "kernels", architecture, bytes: &[] };
        let images = ["compute_80", "sm_80", "sm_89", "sm_90a", "compute_90", "sm_120"].map(image);
        for (capability, want) in [
            ((8, 0), Some("sm_80")),
            ((8, 6), Some("sm_80")),
            ((8, 9), Some("sm_89")),
            ((9, 0), Some("sm_90a")),
            ((10, 0), Some("compute_90")),
            ((12, 0), Some("sm_120")),
            ((12, 1), Some("sm_120")),
            ((7, 5), None),
        ] {
            assert_eq!(of(&images, "kernels", capability).map(|image| image.architecture), want, "{capability:?}");
        }
        assert_eq!(of(&images[..1], "kernels", (9, 0)).map(|image| image.architecture), Some("compute_80"));
        assert_eq!(of(&images, "run_plan", (9, 0)), None);
    }

    #[test]
    fn images_of_this_build_serve_every_device_from_8_0_on() {
        for module in ["kernels", "run_plan", "run_plan_bf16x3"].into_iter().filter(|_| !IMAGES.is_empty()) {
            for capability in [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0), (13, 7)] {
                let image = of(IMAGES, module, capability).unwrap_or_else(|| panic!("{module} for {capability:?}"));
                let bytes = image.unpacked();
                let begins: &[u8] = if image.is_ready() { b"\x7fELF" } else { b"//\n" };
                assert!(bytes.starts_with(begins) && bytes.ends_with(&[0]), "{image:?}");
            }
        }
    }
}
