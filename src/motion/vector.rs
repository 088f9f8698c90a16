//! Three-dimensional vectors and rotations. A rotation is its three columns X, Y, Z.

/// A vector.
pub type Vec3 = [f64; 3];
/// A rotation: its columns X, Y, Z, orthonormal and right-handed.
pub type Axes = [Vec3; 3];

/// The rotation that turns nothing.
pub const IDENTITY: Axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// a + b.
pub fn add(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// a - b.
pub fn sub(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// s a.
pub fn scale(a: Vec3, s: f64) -> Vec3 {
    a.map(|x| x * s)
}

/// Scalar product.
pub fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Vector product, a x b.
pub fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Length.
pub fn length(a: Vec3) -> f64 {
    dot(a, a).sqrt()
}

/// `a` with length 1.
pub fn unit(a: Vec3) -> Vec3 {
    scale(a, 1.0 / length(a))
}

/// The rotation with the X axis `x` and a Z axis as close to `z` as that allows.
pub(crate) fn axes_along(x: Vec3, z: Vec3) -> Axes {
    let x = unit(x);
    let z = unit(sub(z, scale(x, dot(x, z))));
    [x, cross(z, x), z]
}

/// Rotation about +x: a positive angle moves up to the right.
pub fn about_x(angle: f64) -> Axes {
    let (s, c) = angle.sin_cos();
    [[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]]
}

/// Rotation about +y: a positive angle turns left.
pub fn about_y(angle: f64) -> Axes {
    let (s, c) = angle.sin_cos();
    [[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]]
}

/// Rotation about +z: a positive angle moves forward up, and down forward.
pub fn about_z(angle: f64) -> Axes {
    let (s, c) = angle.sin_cos();
    [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]
}

/// `rotation` times `v`.
pub fn apply(rotation: &Axes, v: Vec3) -> Vec3 {
    add(add(scale(rotation[0], v[0]), scale(rotation[1], v[1])), scale(rotation[2], v[2]))
}

/// The inverse of `rotation` times `v`.
pub fn apply_inverse(rotation: &Axes, v: Vec3) -> Vec3 {
    rotation.map(|axis| dot(axis, v))
}

/// The product of rotations, the last one applied first.
pub fn chain<const N: usize>(rotations: [Axes; N]) -> Axes {
    let mut product = rotations[N - 1];
    for rotation in rotations[..N - 1].iter().rev() {
        product = product.map(|axis| apply(rotation, axis));
    }
    product
}

/// The inverse of a rotation.
pub fn transposed(rotation: &Axes) -> Axes {
    std::array::from_fn(|i| rotation.map(|axis| axis[i]))
}

/// The frame whose Y and Z axes are near `y` and `z`. Z is kept, Y is made perpendicular to it
/// (Gram-Schmidt), X = Y x Z.
pub(crate) fn axes_from_yz(y: Vec3, z: Vec3) -> Axes {
    let z = unit(z);
    let y = unit(sub(y, scale(z, dot(y, z))));
    [cross(y, z), y, z]
}

/// Rotation by `angle` about a unit axis, counter-clockwise for a viewer that the axis points to
/// (Rodrigues).
pub(crate) fn rotated_about(axis: Vec3, angle: f64) -> Axes {
    let (s, c) = angle.sin_cos();
    IDENTITY.map(|e| {
        let along = scale(axis, (1.0 - c) * dot(axis, e));
        add(add(scale(e, c), scale(cross(axis, e), s)), along)
    })
}
