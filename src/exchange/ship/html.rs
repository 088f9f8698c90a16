//! A character as a page of one file, which is played with and needs no network.
use super::{Shipped, js};
use crate::host::template;
use crate::run::player;
use crate::run::report::{escape, json};
use flate2::Compression;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPTS: [&str; 3] = [include_str!("page/glb.js"), include_str!("page/skin.js"), include_str!("page/page.js")];

/// The page.
pub(super) fn contents(shipped: &Shipped) -> Vec<Vec<u8>> {
    let page = template::page(PAGE, |key| match key {
        "name" => escape(&shipped.name),
        "about" => escape(&shipped.about()),
        "note" => escape(shipped.note.as_deref().unwrap_or_default()),
        "style" => [player::STYLE, STYLE].concat(),
        "character" => json(&js::json(shipped, Compression::best())),
        "scripts" => player::STEERING.into_iter().chain(SCRIPTS).collect(),
        other => unreachable!("page.html asks for {other}"),
    });
    vec![page.into_bytes()]
}
