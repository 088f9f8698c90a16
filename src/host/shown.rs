//! Text that is safe for a terminal: invisible characters (controls, marks that change the
//! direction of writing) are escaped. Such characters may come from file names of other people.
use std::borrow::Cow;

/// True for a character that shows nothing of itself: a control, a format mark, or white space
/// other than the plain space.
pub(crate) fn is_unseen(c: char) -> bool {
    match c {
        ' '..='~' => false,
        '\0'..='\u{9f}' => true,
        // Characters that the standard library escapes after another character, which includes
        // accents.
        _ => ["a", c.encode_utf8(&mut [0; 4])].concat().escape_debug().count() > 2,
    }
}

/// The text with every invisible character, except line ends and tabs, written as `\u001b`. In JSON
/// this escape means the same character.
pub fn shown(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| !matches!(c, '\n' | '\t') && is_unseen(c);
    if !text.chars().any(hidden) {
        return text.into();
    }
    let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    text.chars().map(|c| if hidden(c) { escaped(c) } else { c.to_string() }).collect::<String>().into()
}

/// A number with its noun: `1 clip`, `2 clips`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
