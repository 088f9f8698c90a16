//! Files that a run leaves on disk: run folder, logs, TensorBoard events, report. Also the way in
//! which files are written whole. Checkpoints have their own module, [`crate::checkpoint`].
pub mod console;
pub mod folder;
pub mod live;
pub mod logs;
pub mod player;
pub mod record;
pub mod report;
pub(crate) mod session;
pub mod tensorboard;
pub mod whole;
