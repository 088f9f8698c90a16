//! Texts with places to fill in.

/// Head of every page, with places for its `name` and `style`.
const HEAD: &str = include_str!("head.html");

/// The page with this body, the head before it, and both filled in by `part`.
pub(crate) fn page(body: &str, part: impl Fn(&str) -> String) -> String {
    filled(HEAD, &part) + &filled(body, &part)
}

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
