//! Scale and shift of each feature.
use crate::operations::gradients;

#[test]
fn derivatives() {
    gradients("rescale");
}
