//! Texts with places to fill in.

/// The template with each `{{key}}` replaced by `part(key)`.
///
/// # Panics
/// If the template does not close what it opens.
pub(crate) fn filled(template: &str, part: impl Fn(&str) -> String) -> String {
    let mut pieces = template.split("{{");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (key, rest) = piece.split_once("}}").expect("the template closes what it opens");
        text += &part(key);
        text += rest;
    }
    text
}
