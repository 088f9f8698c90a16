//! Text as a terminal may have it: characters that show nothing of themselves (controls, marks that
//! turn the direction of writing) are escaped. Names come from files of others.
use std::borrow::Cow;

/// Whether a character shows nothing of itself: a control, a mark of format, white space but the
/// plain space.
pub fn is_unseen(c: char) -> bool {
    match c {
        ' '..='~' => false,
        '\0'..='\u{9f}' => true,
        // What the standard library escapes behind another character, where accents stand.
        _ => ["a", c.encode_utf8(&mut [0; 4])].concat().escape_debug().count() > 2,
    }
}

/// The text with every unseen character but ends of lines and tabs as `\u001b`, which is the same
/// character in JSON.
pub fn shown(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| !matches!(c, '\n' | '\t') && is_unseen(c);
    if !text.chars().any(hidden) {
        return text.into();
    }
    let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    text.chars().map(|c| if hidden(c) { escaped(c) } else { c.to_string() }).collect::<String>().into()
}
