//! The text of an image, taken apart into kernels and their statements.
use crate::Wrong;
use std::collections::HashMap;

/// A piece of memory that a kernel or the image declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Boundary that it begins at.
    pub align: usize,
    /// Size in bytes; 0 for shared memory whose size the launch says.
    pub bytes: usize,
    /// Contents, where the image gives them.
    pub contents: Vec<u8>,
}

/// A line of a kernel's body.
#[derive(Debug, Clone)]
pub enum Item<'a> {
    /// The place that branches name.
    Label(&'a str),
    /// An instruction.
    Statement(Statement<'a>),
}

/// An instruction as it is written.
#[derive(Debug, Clone)]
pub struct Statement<'a> {
    /// Line of the image.
    pub line: u32,
    /// The predicate that must hold, and whether it is negated.
    pub guard: Option<(&'a str, bool)>,
    /// The name with all its parts, such as `ld.global.f32`.
    pub opcode: &'a str,
    /// The operands in their order.
    pub operands: Vec<Operand<'a>>,
    /// The bytes of what is loaded that count, a bit each (`.pragma "used_bytes_mask"`).
    pub used: u32,
}

/// An operand as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand<'a> {
    /// A register, number, name or label.
    Word(&'a str),
    /// `[base+offset]`.
    Address(&'a str, i64),
    /// `{one, two}`.
    Vector(Vec<&'a str>),
}

/// A kernel as it is written.
#[derive(Debug, Clone)]
pub struct Kernel<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its parameters.
    pub parameters: Vec<Variable>,
    /// Most threads of a block (`.maxntid`).
    pub most: u32,
    /// Shared memory.
    pub shared: Vec<Variable>,
    /// Memory of each thread.
    pub local: Vec<Variable>,
    /// The type of each family of registers, by the name before its number.
    pub registers: HashMap<&'a str, &'a str>,
    /// The instructions.
    pub body: Vec<Item<'a>>,
}

/// An image, taken apart.
#[derive(Debug, Clone, Default)]
pub struct Text<'a> {
    /// Memory of the image.
    pub global: Vec<Variable>,
    /// Shared memory of any kernel whose size a launch says.
    pub dynamic: Vec<Variable>,
    /// The kernels in their order.
    pub kernels: Vec<Kernel<'a>>,
}

/// Takes an image apart. Errors: what is not understood, with its line.
pub fn read(image: &str) -> Result<Text<'_>, Wrong> {
    let mut text = Text::default();
    let mut used = !0;
    let mut depth = 0;
    for (line, piece) in pieces(image) {
        let wrong = |what: &str| Wrong::at(line, format!("{what}: {piece}"));
        let inside = depth > 0;
        match piece {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if piece.ends_with(':') => {
                let kernel = text.kernels.last_mut().ok_or_else(|| wrong("a label outside of kernels"))?;
                kernel.body.push(Item::Label(&piece[..piece.len() - 1]));
            }
            _ if piece.contains(".entry") => text.kernels.push(entry(piece).ok_or_else(|| wrong("no kernel"))?),
            _ if piece.starts_with('.') => match piece.split_whitespace().next().unwrap_or_default() {
                ".version" | ".target" | ".address_size" => {}
                ".pragma" => {
                    if let Some((_, mask)) = piece.split_once("used_bytes_mask ") {
                        used = mask.trim_end_matches(['"', ' ']).parse().map_err(|_| wrong("no mask"))?;
                    }
                }
                ".reg" if inside => {
                    let kernel = text.kernels.last_mut().expect("inside one");
                    let (kind, names) =
                        piece[4..].trim().split_once(char::is_whitespace).ok_or_else(|| wrong("no register"))?;
                    for name in names.split(',') {
                        kernel.registers.insert(family(name.split('<').next().unwrap_or_default().trim()), kind);
                    }
                }
                ".shared" | ".local" if inside => {
                    let kernel = text.kernels.last_mut().expect("inside one");
                    let list = if piece.starts_with(".shared") { &mut kernel.shared } else { &mut kernel.local };
                    list.push(variable(piece).ok_or_else(|| wrong("not understood"))?);
                }
                ".extern" if piece.contains(".shared") => {
                    text.dynamic.push(variable(piece).ok_or_else(|| wrong("not understood"))?);
                }
                ".global" | ".visible" if !inside => {
                    text.global.push(variable(piece).ok_or_else(|| wrong("not understood"))?);
                }
                _ => return Err(wrong("unknown directive")),
            },
            _ => {
                let mut statement = statement(line, piece).ok_or_else(|| wrong("no instruction"))?;
                statement.used = std::mem::replace(&mut used, !0);
                let kernel = text.kernels.last_mut().ok_or_else(|| wrong("an instruction outside of kernels"))?;
                kernel.body.push(Item::Statement(statement));
            }
        }
    }
    Ok(text)
}

/// The family of a register: its name without the number.
pub fn family(register: &str) -> &str {
    register.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// The pieces of an image with their lines: labels with their colon, braces around statements, and
/// what ends in a semicolon, without it. The head of a kernel is one piece.
fn pieces(image: &str) -> Vec<(u32, &str)> {
    let (bytes, mut pieces, mut at, mut line) = (image.as_bytes(), Vec::new(), 0, 1);
    while at < bytes.len() {
        if bytes[at] == b'\n' {
            line += 1;
        }
        if bytes[at].is_ascii_whitespace() || bytes[at] == 0 {
            at += 1;
            continue;
        }
        if bytes[at..].starts_with(b"//") {
            at = image[at..].find('\n').map_or(bytes.len(), |end| at + end);
            continue;
        }
        let begun = at;
        if matches!(bytes[at], b'{' | b'}') {
            at += 1;
            pieces.push((line, &image[begun..at]));
            continue;
        }
        let rest = &image[at..];
        let head = rest.starts_with(".visible .entry") || rest.starts_with(".entry");
        let end = if head {
            rest.find('{').unwrap_or(rest.len())
        } else {
            let word = rest.find(|c: char| !(c.is_alphanumeric() || "_$%.".contains(c))).unwrap_or(rest.len());
            if rest[word..].starts_with(':') { word + 1 } else { rest.find(';').unwrap_or(rest.len()) }
        };
        // A directive of a kernel's head that stands alone, such as .version, ends with its line.
        let own_line = [".version", ".target", ".address_size"].iter().any(|name| rest.starts_with(name));
        let end = if own_line { rest.find('\n').unwrap_or(rest.len()) } else { end };
        pieces.push((line, rest[..end].trim()));
        line += rest[..end].matches('\n').count() as u32;
        at += end + usize::from(rest[end..].starts_with(';'));
    }
    pieces
}

/// A kernel without its body, of its head.
fn entry(head: &str) -> Option<Kernel<'_>> {
    let (name, rest) = head.split_once(".entry")?.1.split_once('(')?;
    let (parameters, rest) = rest.split_once(')')?;
    let parameters = parameters.split(',').map(str::trim).filter(|one| !one.is_empty());
    let most = rest.split_once(".maxntid")?.1.split(',').next()?.trim().parse().ok()?;
    Some(Kernel {
        name: name.trim(),
        parameters: parameters.map(variable).collect::<Option<_>>()?,
        most,
        shared: Vec::new(),
        local: Vec::new(),
        registers: HashMap::new(),
        body: Vec::new(),
    })
}

/// A variable, such as `.shared .align 8 .b8 name[256]`.
fn variable(declared: &str) -> Option<Variable> {
    let (declared, contents) = declared.split_once('=').map_or((declared, ""), |(name, list)| (name, list));
    let mut words = declared.split_whitespace();
    let (mut align, mut size, mut name) = (1, 0, "");
    while let Some(word) = words.next() {
        match word {
            ".align" => align = words.next()?.parse().ok()?,
            ".b8" | ".u8" => size = 1,
            ".b16" | ".u16" | ".f16" => size = 2,
            ".b32" | ".u32" | ".f32" => size = 4,
            ".b64" | ".u64" | ".f64" => size = 8,
            _ if word.starts_with('.') => {}
            _ => name = word,
        }
    }
    let (name, count) = match name.split_once('[') {
        Some((name, count)) => (name, count.trim_end_matches(']')),
        None => (name, "1"),
    };
    let count: usize = if count.is_empty() { 0 } else { count.parse().ok()? };
    let list = contents.trim().trim_start_matches('{').trim_end_matches('}');
    let contents = list.split(',').map(str::trim).filter(|one| !one.is_empty());
    let contents = contents.map(|one| one.parse().ok()).collect::<Option<_>>()?;
    Some(Variable { name: name.to_owned(), align: align.max(size), bytes: size * count, contents })
}

fn statement(line: u32, text: &str) -> Option<Statement<'_>> {
    let (guard, text) = match text.strip_prefix('@') {
        Some(rest) => {
            let (guard, rest) = rest.split_once(char::is_whitespace)?;
            (Some((guard.trim_start_matches('!'), guard.starts_with('!'))), rest.trim_start())
        }
        None => (None, text),
    };
    let (opcode, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (mut operands, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in rest.char_indices().chain([(rest.len(), ',')]) {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                let one = rest[from..at].trim();
                from = at + 1;
                if !one.is_empty() {
                    operands.push(operand(one)?);
                }
            }
            _ => {}
        }
    }
    Some(Statement { line, guard, opcode, operands, used: !0 })
}

fn operand(text: &str) -> Option<Operand<'_>> {
    if let Some(list) = text.strip_prefix('{') {
        return Some(Operand::Vector(list.strip_suffix('}')?.split(',').map(str::trim).collect()));
    }
    let Some(place) = text.strip_prefix('[') else { return Some(Operand::Word(text)) };
    let place = place.strip_suffix(']')?;
    let (base, offset) = place.split_once('+').unwrap_or((place, "0"));
    Some(Operand::Address(base.trim(), offset.trim().parse().ok()?))
}
