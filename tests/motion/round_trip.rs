//! A round trip of real motion: after import and export, an independent reader finds every joint
//! where it was.
use crate::bvh_reader::bvh_positions;
use mvae_fast::data::npz;
use mvae_fast::data::world;
use mvae_fast::exchange::export::{Take, bvh};
use mvae_fast::motion::local::Bones;
use mvae_fast::motion::vector::{length, sub};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Path of shared material, if it exists.
fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mocap").join(path);
    if !path.exists() {
        println!("skipped: no {}", path.display());
    }
    path.exists().then_some(path)
}

fn program(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mvae-fast"));
    let output = command.env_clear().current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[test]
fn a_clip_that_was_imported_is_exported_as_it_was() {
    let Some(folder) = shared("bandai-namco-2") else { return };
    let room = tempfile::tempdir().unwrap();
    for name in ["walk_normal_001", "run_normal_017", "walk-turn-left_normal_032", "wave-both-hands_normal_001"] {
        let original = folder.join(format!("dataset-2_{name}.bvh"));
        let (set, again) = (format!("{name}.npz"), format!("{name}.bvh"));
        program(room.path(), &["data", "import", original.to_str().unwrap(), "-o", &set]);
        program(room.path(), &["data", "export", &set, "-o", &again]);
        let original = bvh_anim::from_bytes(fs::read(original).unwrap()).unwrap();
        let again = bvh_anim::from_bytes(fs::read(room.path().join(again)).unwrap()).unwrap();
        let frames = again.frames().len();
        assert_eq!(frames, original.frames().len() - 1, "the first frame has no last one");
        for frame in 0..frames {
            let want = bvh_positions(&original, frame + 1);
            let heights = want.iter().map(|(_, [_, y, _])| *y);
            let height = heights.clone().fold(0.0, f64::max) - heights.fold(f64::INFINITY, f64::min);
            for (joint, got) in bvh_positions(&again, frame) {
                let (_, want) = want.iter().find(|(name, _)| *name == joint).unwrap();
                let error = length(sub(got, *want));
                assert!(error < 1e-4 * height, "{name}, frame {frame}, {joint}: {error} ft");
            }
        }
    }
}

#[test]
fn clips_of_other_rigs_keep_the_places_of_their_joints() {
    for folder in ["cmu-bvh", "cmu-expmap/test"] {
        let Some(path) = shared(folder) else { continue };
        let room = tempfile::tempdir().unwrap();
        let mut import = vec!["data", "import", path.to_str().unwrap(), "-o", "set.npz"];
        if folder.starts_with("cmu-expmap") {
            import.extend(["--skeleton", "cmu"]);
        }
        program(room.path(), &import);
        let set = npz::read(&room.path().join("set.npz")).unwrap();
        let rig = set.rig.as_ref().unwrap();
        // 1e-4 of the body's height, of which the hips are at half.
        let tolerance = 2e-4 * rig.hip_height;
        for clip in 0..set.end_indices.len() {
            let file = bvh_anim::from_str(&bvh::text(&Take::of_clip(&set, rig, clip, Bones::Given))).unwrap();
            for (frame, pose) in world::poses(&set, clip).iter().enumerate() {
                for (name, position) in bvh_positions(&file, frame) {
                    let error = length(sub(position, pose.positions[rig.skeleton.find(&name).unwrap()]));
                    assert!(error < tolerance, "{folder}, clip {clip}, frame {frame}, {name}: {error} ft");
                }
            }
        }
    }
}
