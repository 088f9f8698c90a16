//! An independent reader of BVH: the crate bvh_anim reads the numbers, and this file does the
//! forward kinematics.
use bvh_anim::{Bvh, ChannelType};
use mvae_fast::exchange::export::bvh;
use mvae_fast::motion::vector::{Axes, IDENTITY, Vec3, about_x, about_y, about_z, add, apply, chain};

/// Positions of the joints in a frame of a BVH, by name, in feet.
pub fn bvh_positions(file: &Bvh, frame: usize) -> Vec<(String, Vec3)> {
    let mut all: Vec<(String, Vec3, Axes)> = Vec::new();
    for joint in file.joints() {
        let data = joint.data();
        let offset = data.offset();
        let mut place = [offset.x, offset.y, offset.z].map(f64::from);
        let mut turned = IDENTITY;
        let mut placed = false;
        for channel in data.channels() {
            let value = f64::from(file.get_motion(frame, channel));
            let (position, rotation) = match channel.channel_type() {
                ChannelType::PositionX => (Some(0), None),
                ChannelType::PositionY => (Some(1), None),
                ChannelType::PositionZ => (Some(2), None),
                ChannelType::RotationX => (None, Some(about_x(value.to_radians()))),
                ChannelType::RotationY => (None, Some(about_y(value.to_radians()))),
                ChannelType::RotationZ => (None, Some(about_z(value.to_radians()))),
            };
            if let Some(axis) = position {
                place[axis] = value;
                placed = true;
            }
            if let Some(rotation) = rotation {
                turned = chain([turned, rotation]);
            }
        }
        assert!(placed || data.parent_index().is_some(), "the root has places");
        let (position, turned) = match data.parent_index() {
            None => (place, turned),
            Some(parent) => {
                let (_, above, axes) = &all[parent];
                (add(*above, apply(axes, place)), chain([*axes, turned]))
            }
        };
        all.push((data.name().to_string(), position, turned));
    }
    all.into_iter().map(|(name, position, _)| (name, position.map(|x| x / bvh::CENTIMETRES))).collect()
}
