//! Reads overlayfs' marks; the inverse of `unpack/whiteout.rs`, where their form is explained.

use super::walk::Node;
use super::{DiffError, View};

/// What a node says of the lower layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    None,
    /// Its name is hidden.
    Whiteout,
    /// All that lower layers have in this directory is hidden.
    Opaque,
}

/// Names of the attributes, by the kind of mount.
pub struct Marks {
    names: Option<Names>,
}

struct Names {
    opaque: &'static str,
    whiteout: &'static str,
    /// What stands for contents that are elsewhere.
    elsewhere: [(&'static str, &'static str); 2],
}

const TRUSTED: Names = Names {
    opaque: "trusted.overlay.opaque",
    whiteout: "trusted.overlay.whiteout",
    elsewhere: [("redirect", "trusted.overlay.redirect"), ("metacopy", "trusted.overlay.metacopy")],
};
const USER: Names = Names {
    opaque: "user.overlay.opaque",
    whiteout: "user.overlay.whiteout",
    elsewhere: [("redirect", "user.overlay.redirect"), ("metacopy", "user.overlay.metacopy")],
};

impl Marks {
    pub fn new(view: View) -> Marks {
        let names = match view {
            View::Layer { userxattr: false } => Some(TRUSTED),
            View::Layer { userxattr: true } => Some(USER),
            View::Whole => None,
        };
        Marks { names }
    }

    pub fn of(&self, node: &Node<'_>) -> Result<Mark, DiffError> {
        let Some(names) = &self.names else { return Ok(Mark::None) };
        if node.is_null_device() || (node.is_empty_file() && node.xattr(names.whiteout)?.is_some()) {
            return Ok(Mark::Whiteout);
        }
        let [redirect, metacopy] = names.elsewhere;
        let (mark, attribute) = if node.is_dir() { redirect } else { metacopy };
        if node.may_have_marks() && node.xattr(attribute)?.is_some() {
            return Err(DiffError::Elsewhere { path: node.shown().to_path_buf(), mark });
        }
        let opaque = node.is_dir() && node.xattr(names.opaque)?.is_some_and(|value| value == b"y");
        Ok(if opaque { Mark::Opaque } else { Mark::None })
    }
}
