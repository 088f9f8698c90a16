//! Layered configurations. The `keys!` table declares struct, flags, environment variables, help
//! and known keys at once. Layers are merged one over another; an error names the key as it was
//! given, and where.
use crate::host::toml::{self as toml_file, in_line, line_of, one_line, plain_words};
use crate::{Error, Result};
use serde::de;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Declares a configuration, its flags and the functions of both.
///
/// Each key takes one line: `name: type of the flag => type in the configuration (if it differs) =
/// value in the default preset`. The configuration itself provides `preset`, `check`, `FREE`,
/// `lay_over` (puts one layer over another) and `base` (the table under all layers).
macro_rules! keys {
    (@held $flag:ty) => { $flag };
    (@held $flag:ty, $held:ty) => { $held };
    ($(#[doc = $about:literal])+ $config:ident, $overrides:ident, $preset:ty; $($heading:literal { $(
        $(#[doc = $doc:literal])+
        $(#[serde($serde:meta)])?
        $key:ident: $flag:ty $(=> $held:ty)? = $default:expr;
    )+ })+) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $config {
            $($( $(#[doc = $doc])+ $(#[serde($serde)])? pub $key: $crate::config::layers::keys!(@held $flag $(, $held)?), )+)+
        }

        impl Default for $config {
            fn default() -> Self {
                $config { $($( $key: $default, )+)+ }
            }
        }

        /// The keys that flags, or the environment, set; `None` leaves a key as it is.
        #[derive(Debug, Clone, Default, PartialEq, clap::Args)]
        pub struct $overrides {
            $($(
                $(#[doc = $doc])+
                #[arg(long, help_heading = $heading)]
                pub $key: Option<$flag>,
            )+)+
        }

        impl $overrides {
            /// Names of the keys that are set.
            pub fn keys(&self) -> Vec<&'static str> {
                let keys = [$($( self.$key.is_some().then_some(stringify!($key)), )+)+];
                keys.into_iter().flatten().collect()
            }

            /// These values; where a key is not set, the value of `others`.
            pub fn or(self, others: Self) -> Self {
                $overrides { $($( $key: self.$key.or(others.$key), )+)+ }
            }

            /// The keys that are set, as a table to lay over another. `name` turns a key into the
            /// name it was given by.
            fn table(&self, name: fn(&str) -> String) -> $crate::Result<toml::Table> {
                let mut table = toml::Table::new();
                $($(
                    if let Some(given) = &self.$key {
                        // Whole numbers in TOML are signed, and so have one bit less.
                        let value = toml::Value::try_from(given).map_err(|_| {
                            let key = name(stringify!($key));
                            $crate::Error::Usage(format!("{key} is {given:?}, expected at most {}", i64::MAX))
                        })?;
                        table.insert(stringify!($key).to_owned(), value);
                    }
                )+)+
                Ok(table)
            }
        }

        impl $config {
            /// All keys, in the order of `config.toml`.
            pub const KEYS: &[&str] = &[$($( stringify!($key), )+)+];

            /// Merges the layers, flags over environment over file over preset, and checks the
            /// result. An error names the key as it was given, and where.
            ///
            /// `file` is a path (for messages) and its text. It may name a `preset` of its own; the
            /// argument `preset` takes precedence.
            pub fn layered(
                preset: Option<$preset>,
                file: Option<(&std::path::Path, &str)>,
                environment: &$overrides,
                flags: &$overrides,
            ) -> $crate::Result<Self> {
                let file = match file {
                    Some((path, text)) => $crate::config::layers::FileLayer::parse(path, text, Self::KEYS)?,
                    None => $crate::config::layers::FileLayer::default(),
                };
                Self::of_layers(preset, &file, environment, flags)
            }

            /// [`layered`](Self::layered) of a file that has been read.
            pub(crate) fn of_layers(
                preset: Option<$preset>,
                file: &$crate::config::layers::FileLayer<$preset>,
                environment: &$overrides,
                flags: &$overrides,
            ) -> $crate::Result<Self> {
                let environment = environment.table($crate::config::layers::variable)?;
                let flags = flags.table($crate::config::layers::flag)?;
                let name = |key: &str| file.name(key, &environment, &flags);
                let preset = preset.or(file.preset).unwrap_or_default();
                let mut given = toml::Table::new();
                for layer in [&file.table, &environment, &flags] {
                    Self::lay_over(&mut given, layer);
                }
                let mut table = Self::base(preset, &given);
                table.extend(given);
                let config: Self = $crate::config::layers::read_table(table, &name)?;
                config.check(&name)?;
                Ok(config)
            }

            /// Reads a file such as a run's `config.toml`; missing keys keep the values of the
            /// preset.
            pub fn load(path: &std::path::Path) -> $crate::Result<Self> {
                let (text, none) = ($crate::host::toml::read(path)?, $overrides::default());
                Self::layered(None, Some((path, &text)), &none, &none)
            }

            /// Every key as TOML text; `load` gives the same configuration back.
            pub fn to_toml(&self) -> String {
                toml::to_string(self).expect("a checked configuration can be written")
            }

            /// Names of the keys in which two configurations differ.
            pub fn differences(&self, other: &Self) -> Vec<&'static str> {
                let (ours, theirs) = (self.table(), other.table());
                Self::KEYS.iter().copied().filter(|&key| ours.get(key) != theirs.get(key)).collect()
            }

            fn table(&self) -> toml::Table {
                toml::Table::try_from(self).expect("a checked configuration can be written")
            }

            /// Refuses values that no run can have. The error is one line that names the key and
            /// its allowed values.
            pub fn validate(&self) -> $crate::Result<()> {
                self.check(&str::to_owned)
            }
        }
    };
}
pub(crate) use keys;

/// A key's flag: `batch_size` to `--batch-size`.
pub fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// A line of a configuration as a flag: `batch_size = 64` to `--batch-size 64`.
pub(crate) fn flag_of(line: &str) -> String {
    match line.split_once(" = ") {
        Some((key, value)) => format!("{} {}", flag(key), value.trim_matches('"')),
        None => flag(line),
    }
}

/// A key's environment variable: `batch_size` to `MVAE_BATCH_SIZE`.
pub fn variable(key: &str) -> String {
    format!("MVAE_{}", key.to_uppercase())
}

/// Reads a configuration from a table. Errors name each key as `name` does, by how and where it was
/// given.
pub(crate) fn read_table<C: de::DeserializeOwned>(table: toml::Table, name: &dyn Fn(&str) -> String) -> Result<C> {
    serde_path_to_error::deserialize(table).map_err(|error| {
        let path = error.path().to_string();
        let (key, inside) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
        let what = plain_words(&one_line(error.inner().message()));
        Error::Usage(format!("{}{inside}: {what}", name(key)))
    })
}

/// A table of a file, with the places of its keys.
pub(crate) type Parsed = BTreeMap<toml::Spanned<String>, toml::Value>;

/// One configuration file: the preset and the keys it sets, with their lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileLayer<P> {
    path: PathBuf,
    pub preset: Option<P>,
    pub table: toml::Table,
    /// Line of each key, from 1.
    pub lines: BTreeMap<String, usize>,
}

impl<P: de::DeserializeOwned> FileLayer<P> {
    /// The name of a key in messages: its flag, variable, or file and line, whichever sets it.
    pub fn name(&self, key: &str, environment: &toml::Table, flags: &toml::Table) -> String {
        match self.lines.get(key) {
            _ if flags.contains_key(key) => flag(key),
            _ if environment.contains_key(key) => variable(key),
            Some(line) => format!("{}:{line}: {key}", self.path.display()),
            None => key.to_owned(),
        }
    }

    /// Reads a file that may set these keys.
    pub fn parse(path: &Path, text: &str, keys: &[&str]) -> Result<Self> {
        FileLayer::of(path, text, toml_file::parse(path, text)?, keys)
    }

    /// The layer of a table in a file that may set these keys.
    pub fn of(path: &Path, text: &str, parsed: Parsed, keys: &[&str]) -> Result<Self> {
        let (preset, table, lines) = (None, toml::Table::new(), BTreeMap::new());
        let mut layer = FileLayer { path: path.to_owned(), preset, table, lines };
        for (key, value) in parsed {
            let (line, key) = (line_of(text, key.span().start), key.into_inner());
            if key == "preset" {
                let preset = value.try_into().map_err(|e: toml::de::Error| {
                    in_line(path, line, format!("preset: {}", plain_words(&one_line(e.message()))))
                })?;
                layer.preset = Some(preset);
            } else if keys.contains(&key.as_str()) {
                layer.lines.insert(key.clone(), line);
                layer.table.insert(key, value);
            } else {
                let near = nearest(&key, keys.iter().copied().chain(["preset"]));
                return Err(in_line(path, line, format!("unknown key {key:?}; did you mean {near:?}?")));
            }
        }
        Ok(layer)
    }
}

/// The one of `known` keys most like `key`.
pub fn nearest<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    let key = key.to_lowercase().replace('-', "_");
    let likeness = |known: &str| strsim::jaro_winkler(known, &key);
    let nearer = |a: &&str, b: &&str| likeness(a).total_cmp(&likeness(b));
    known.into_iter().max_by(nearer).expect("there are keys")
}

/// An `Option` written as 0 when it is `None`: so a file holds every key, and a flag can switch it
/// off.
pub(crate) mod zero_is_none {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.unwrap_or(0.0))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Some(f64::deserialize(deserializer)?).filter(|&value| value != 0.0))
    }
}
