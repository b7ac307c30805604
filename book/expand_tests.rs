use super::*;

/// Lessons and snapshots on disk, as the real ones are.
struct Shelf {
    lessons: Lessons,
    snapshots: Snapshots,
}

impl Shelf {
    fn new(lesson: &str, snapshots: &[(&str, &str)]) -> Shelf {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("lessons/01-one");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("lesson.md"), lesson).unwrap();
        let manifest = "id = \"01-one\"\ntitle = \"One\"\n\
                        [[commands]]\nsnapshot = \"miss\"\nrun = \"rdock run centos\"\n";
        std::fs::write(place.join("lesson.toml"), manifest).unwrap();
        let snaps = root.path().join("snapshots");
        std::fs::create_dir_all(&snaps).unwrap();
        for (name, text) in snapshots {
            std::fs::write(snaps.join(format!("suite__explain__{name}.snap")), text).unwrap();
        }
        let lessons = Lessons::read(&root.path().join("lessons")).unwrap();
        Shelf { lessons, snapshots: Snapshots::read(&snaps).unwrap() }
    }

    fn page(&self, text: &str) -> Result<String, String> {
        let mut shown = BTreeSet::new();
        let expander = Expander::new(&self.lessons, &self.snapshots);
        expander.page(Path::new("src/page.md"), text, &mut shown).map_err(|p| p.to_string())
    }
}

const MISS: (&str, &str) = ("miss", "---\nsource: x\n---\nUnable to find\n\n CLIENT  1\n");
const TOLD: (&str, &str) = ("told", "---\nsource: x\ndescription: rdock version\n---\n```\nout\n");

#[test]
fn a_snapshot_becomes_the_command_and_its_output() {
    let shelf = Shelf::new("before\n\n{{#snapshot miss}}\n\nafter\n", &[MISS]);
    assert_eq!(
        shelf.page("# One\n{{#lesson 01-one}}\n").unwrap(),
        "# One\nbefore\n\n```console\n$ rdock run centos\nUnable to find\n\n CLIENT  1\n```\n\nafter\n"
    );
}

#[test]
fn in_a_code_block_a_snapshot_becomes_its_output() {
    let shelf = Shelf::new("```console\n$ rdock run centos\n{{#snapshot miss}}\n```\n", &[MISS]);
    assert_eq!(
        shelf.page("{{#lesson 01-one}}").unwrap(),
        "```console\n$ rdock run centos\nUnable to find\n\n CLIENT  1\n```\n"
    );
}

#[test]
fn in_a_list_everything_is_as_far_in_as_the_placeholder() {
    let shelf = Shelf::new("1. One\n\n   {{#snapshot miss}}\n", &[MISS]);
    assert_eq!(
        shelf.page("{{#lesson 01-one}}").unwrap(),
        "1. One\n\n   ```console\n   $ rdock run centos\n   Unable to find\n\n    CLIENT  1\n   ```\n"
    );
}

#[test]
fn a_command_that_is_typed_must_be_the_one_that_was_run() {
    let shelf = Shelf::new("x\n```console\n$ rdock run centso\n{{#snapshot miss}}\n```\n", &[MISS]);
    assert_eq!(
        shelf.page("{{#lesson 01-one}}").unwrap_err(),
        "lessons/01-one/lesson.md:4: the page says \"rdock run centso\", but \"miss\" was printed by \"rdock run centos\""
    );
}

#[test]
fn an_unknown_snapshot_names_file_and_line() {
    let shelf = Shelf::new("a\nb\n{{#snapshot gone}}\n", &[MISS]);
    let said = shelf.page("\n\n{{#lesson 01-one}}").unwrap_err();
    assert_eq!(said, "lessons/01-one/lesson.md:3: no test has made a snapshot called \"gone\"");
    let said = shelf.page("\n{{#snapshot gone}}").unwrap_err();
    assert_eq!(said, "src/page.md:2: no test has made a snapshot called \"gone\"");
}

#[test]
fn outside_of_a_lesson_the_snapshot_itself_says_the_command() {
    let shelf = Shelf::new("", &[MISS, TOLD]);
    assert_eq!(shelf.page("{{#snapshot told}}").unwrap(), "````console\n$ rdock version\n```\nout\n````\n");
    assert!(shelf.page("{{#snapshot miss}}").unwrap_err().contains("which command printed \"miss\""));
}

#[test]
fn output_can_not_break_out_of_its_code_block() {
    let shelf = Shelf::new("", &[TOLD]);
    assert!(shelf.page("```\n{{#snapshot told}}\n```").unwrap_err().contains("would end the code block"));
    assert_eq!(shelf.page("~~~\n{{#snapshot told}}\n~~~").unwrap(), "~~~\n```\nout\n~~~\n");
}

#[test]
fn a_placeholder_that_is_not_alone_is_an_error_and_one_that_is_talked_about_is_not() {
    let shelf = Shelf::new("", &[MISS]);
    assert!(shelf.page("see {{#snapshot miss}}").unwrap_err().starts_with("src/page.md:1: a placeholder stands alone"));
    assert!(shelf.page("{{#snapshot two words}}").is_err());
    assert_eq!(shelf.page("write `{{#snapshot NAME}}`").unwrap(), "write `{{#snapshot NAME}}`\n");
}

#[test]
fn an_unknown_lesson_and_a_lesson_in_a_lesson_are_errors() {
    let shelf = Shelf::new("{{#lesson 01-one}}\n", &[]);
    assert_eq!(shelf.page("{{#lesson 02-two}}").unwrap_err(), "src/page.md:1: there is no lesson \"02-two\"");
    assert!(shelf.page("{{#lesson 01-one}}").unwrap_err().contains("cannot hold a lesson"));
}
