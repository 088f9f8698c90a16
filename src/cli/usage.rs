//! Errors that clap finds in a command line, as one line of our own.
use super::command;
use crate::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::num::{IntErrorKind, ParseFloatError, ParseIntError};

/// The error in one line. A bad value is reported with its flag and the expected value; all other
/// errors keep clap's words. `name` gives the form in which a flag was written.
pub fn usage(error: &clap::Error, name: impl Fn(&str) -> String) -> Error {
    let flag = text(error, ContextKind::InvalidArg);
    let flag = flag.split(' ').next().unwrap_or_default();
    let value = error.get(ContextKind::InvalidValue);
    Error::Usage(match value.and(expected(error)) {
        Some(expected) => {
            format!("{} is {:?}, expected {expected}", name(flag), text(error, ContextKind::InvalidValue))
        }
        None => one_line(error) + &mend(error, flag),
    })
}

/// The values that would be accepted instead of the refused one, if clap names them.
fn expected(error: &clap::Error) -> Option<String> {
    if let Some(ContextValue::Strings(values)) = error.get(ContextKind::ValidValue)
        && !values.is_empty()
    {
        return Some(format!("one of {}", values.join(", ")));
    }
    let source = std::error::Error::source(error)?;
    let whole = source.downcast_ref::<ParseIntError>().map(|error| match error.kind() {
        IntErrorKind::Zero => "a whole number of 1 or more",
        IntErrorKind::PosOverflow => "a smaller whole number",
        _ => "a whole number of 0 or more",
    });
    let number = source.is::<ParseFloatError>().then_some("a number");
    let words = source.to_string();
    let words = words.strip_prefix("expected ").unwrap_or(&words);
    Some(whole.or(number).unwrap_or(words).to_owned())
}

/// Clap's text without the usage and without the pointer to `--help`.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines =
        text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("tip: to pass"));
    let text = lines.collect::<Vec<_>>().join("; ").replace(":; ", ": ");
    text.trim_start_matches("error: ").to_owned()
}

/// A remedy where clap suggests none. An unknown flag may stand for flags that contain its name
/// (`--epochs`).
fn mend(error: &clap::Error, flag: &str) -> String {
    let word = flag.trim_start_matches('-');
    match error.kind() {
        ErrorKind::ArgumentConflict if error.get(ContextKind::PriorArg).is_some() => "; drop one of them".to_owned(),
        ErrorKind::UnknownArgument if word.len() > 1 && error.get(ContextKind::SuggestedArg).is_none() => {
            let (all, usage) = (command(), text(error, ContextKind::Usage));
            let sub = |of, word| clap::Command::find_subcommand(of, word).unwrap_or(of);
            let flags = usage
                .split_whitespace()
                .fold(&all, sub)
                .get_arguments()
                .filter_map(clap::Arg::get_long)
                .filter(|&long| long != word && long.contains(word));
            let flags: Vec<_> = flags.map(|long| format!("--{long}")).collect();
            if flags.is_empty() { "; see --help".to_owned() } else { format!("; did you mean {}?", flags.join(" or ")) }
        }
        _ => String::new(),
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    error.get(kind).map(ToString::to_string).unwrap_or_default()
}
