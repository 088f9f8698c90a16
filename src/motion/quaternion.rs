//! Unit quaternions (x, y, z, w), which interpolate rotations and are written to files.
use super::vector::Axes;

/// A unit quaternion, w last, as glTF stores it. `q` and `-q` are the same rotation.
pub type Quaternion = [f64; 4];

/// The quaternion of a rotation, w not negative.
pub fn from_axes(axes: &Axes) -> Quaternion {
    let [[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]] = *axes; // column by column: xy is the y of the X axis
    // Each row is 4 q_i q; the largest row has the smallest rounding error (Shepperd, 1978).
    let rows = [
        [1.0 + xx - yy - zz, xy + yx, zx + xz, yz - zy],
        [xy + yx, 1.0 - xx + yy - zz, yz + zy, zx - xz],
        [zx + xz, yz + zy, 1.0 - xx - yy + zz, xy - yx],
        [yz - zy, zx - xz, xy - yx, 1.0 + xx + yy + zz],
    ];
    let largest = (0..4).max_by(|&a, &b| rows[a][a].total_cmp(&rows[b][b])).unwrap_or(3);
    let q = normalized(rows[largest]);
    if q[3] < 0.0 { q.map(|x| -x) } else { q }
}

/// The rotation of a unit quaternion.
pub fn to_axes([x, y, z, w]: Quaternion) -> Axes {
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + z * w), 2.0 * (x * z - y * w)],
        [2.0 * (x * y - z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + x * w)],
        [2.0 * (x * z + y * w), 2.0 * (y * z - x * w), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

/// The product: first the rotation `b`, then `a`.
pub fn product([ax, ay, az, aw]: Quaternion, [bx, by, bz, bw]: Quaternion) -> Quaternion {
    [
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    ]
}

/// Interpolates from `a` (t = 0) to `b` (t = 1) on the shorter arc at constant speed (Shoemake,
/// "Animating rotation with quaternion curves", 1985).
pub(crate) fn slerp(a: Quaternion, b: Quaternion, t: f64) -> Quaternion {
    let cosine = dot(a, b);
    let (b, cosine) = if cosine < 0.0 { (b.map(|x| -x), -cosine) } else { (b, cosine) };
    let angle = cosine.min(1.0).acos();
    let (from, to) = match angle.sin() {
        sine if sine < 1e-6 => (1.0 - t, t),
        sine => (((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine),
    };
    normalized(std::array::from_fn(|i| from * a[i] + to * b[i]))
}

fn dot(a: Quaternion, b: Quaternion) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn normalized(q: Quaternion) -> Quaternion {
    let length = dot(q, q).sqrt();
    q.map(|x| x / length)
}
