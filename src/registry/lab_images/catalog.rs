//! The recipes that rdock brings along.

use include_dir::{Dir, include_dir};

use super::host::Host;
use super::recipe::{Recipe, RecipeError};
use crate::oci::{Digest, Digester};

/// `lessons/images/`: a directory an image.
static RECIPES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/lessons/images");

/// A directory of recipes, read and checked, and the host that they are made from.
#[derive(Debug, Clone)]
pub struct Catalog {
    shelves: Vec<Shelf>,
    pub(super) host: Host,
}

#[derive(Debug, Clone)]
pub(super) struct Shelf {
    pub recipe: Recipe,
    dir: Dir<'static>,
    /// Of the recipe whose layers are below.
    base: Option<Dir<'static>>,
}

impl Catalog {
    /// The recipes in the binary, for this machine. Reads no file.
    pub fn embedded() -> Result<Catalog, RecipeError> {
        Catalog::with_host(Host::this_machine())
    }

    /// The recipes in the binary, for a host that looks as `host` says.
    pub fn with_host(host: Host) -> Result<Catalog, RecipeError> {
        let mut shelves = Vec::new();
        for dir in RECIPES.dirs() {
            let name = dir.path().to_string_lossy();
            if let Some(text) = dir.get_file(dir.path().join("recipe.toml")).and_then(|f| f.contents_utf8()) {
                shelves.push(Shelf { recipe: Recipe::parse(&name, text)?, dir: dir.clone(), base: None });
            }
        }
        stack(&mut shelves)?;
        shelves.sort_by(|a, b| a.recipe.name.cmp(&b.recipe.name));
        Ok(Catalog { shelves, host })
    }

    /// All recipes, by name.
    pub fn recipes(&self) -> impl Iterator<Item = &Recipe> {
        self.shelves.iter().map(|s| &s.recipe)
    }

    /// The recipe that the hub serves as this repository and tag: `find("library/centos", "latest")`.
    pub fn find(&self, repository: &str, tag: &str) -> Option<&Recipe> {
        self.recipes().find(|r| r.repository() == repository && r.tags.iter().any(|t| t == tag))
    }

    /// By name (`centos`) or repository (`library/centos`).
    pub(super) fn shelf(&self, name: &str) -> Option<&Shelf> {
        let by_name = self.shelves.iter().find(|s| s.recipe.name == name);
        by_name.or_else(|| self.shelves.iter().find(|s| s.recipe.repository() == name))
    }
}

/// Puts the layers of their bases below those that have one.
fn stack(shelves: &mut [Shelf]) -> Result<(), RecipeError> {
    let plain: Vec<(Recipe, Dir<'static>)> = shelves.iter().map(|s| (s.recipe.clone(), s.dir.clone())).collect();
    for shelf in shelves {
        let Some(wanted) = shelf.recipe.base.as_ref().map(|b| b.recipe.clone()) else { continue };
        // A base stands on nothing itself.
        let found = plain.iter().find(|(r, _)| r.name == wanted && r.base.is_none());
        let (base, dir) = found.ok_or_else(|| RecipeError::Value {
            recipe: shelf.recipe.name.clone(),
            field: "base",
            value: wanted,
            problem: "is no recipe that could be one",
        })?;
        shelf.recipe.stand_on(base)?;
        shelf.base = Some(dir.clone());
    }
    Ok(())
}

impl Shelf {
    /// A file beside the recipe, or beside its base's.
    pub fn beside(&self, name: &str) -> Option<&'static [u8]> {
        let dirs = std::iter::once(&self.dir).chain(&self.base);
        dirs.filter_map(|dir| dir.get_file(dir.path().join(name))).map(|f| f.contents()).next()
    }

    /// A digest of the recipe, its base's, and all files beside them.
    pub fn digest(&self) -> Digest {
        let mut files: Vec<_> = self.dir.files().chain(self.base.iter().flat_map(|d| d.files())).collect();
        files.sort_by_key(|f| f.path());
        let mut digester = Digester::new();
        for file in files {
            let name = file.path().to_string_lossy();
            digester.update(format!("{name}\0{}\0", file.contents().len()).as_bytes());
            digester.update(file.contents());
        }
        digester.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_recipes_are_good_and_can_be_found() {
        let catalog = Catalog::embedded().unwrap();
        assert_eq!(
            catalog.recipes().map(|r| r.name.as_str()).collect::<Vec<_>>(),
            ["busybox", "centos", "hello-world", "mariadb", "mysql", "mysql-5.7", "nginx", "tomcat"]
        );
        assert_eq!(catalog.find("library/mysql", "latest").unwrap().name, "mysql");
        assert_eq!(catalog.find("library/mysql", "5.7").unwrap().name, "mysql-5.7");
        assert_eq!(catalog.find("library/centos", "latest").unwrap().name, "centos");
        assert!(catalog.find("library/centos", "7").is_none());
        assert!(catalog.find("centos", "latest").is_none());
        assert!(catalog.shelf("centos").is_some() && catalog.shelf("library/centos").is_some());
    }

    #[test]
    fn what_is_embedded_is_what_lies_in_the_source_tree() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons/images");
        for dir in RECIPES.dirs() {
            let on_disk = std::fs::read_dir(root.join(dir.path())).unwrap().count();
            assert_eq!(dir.files().count(), on_disk, "{}: touch catalog.rs", dir.path().display());
            for file in dir.files() {
                assert!(file.contents() == std::fs::read(root.join(file.path())).unwrap());
            }
        }
    }
}
