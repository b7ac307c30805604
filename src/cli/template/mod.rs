//! Go's `text/template`, as far as `--format` needs it: what people write there, in the words of Go when it is wrong.
//!
//! - [`parse`]: text → tree;
//! - [`exec`]: tree and value → text;
//! - [`functions`]: Go's own functions and those that Docker adds;
//! - [`value`]: what a template sees.
//!
//! Left out: `define`, `template`, `block` and `call`, complex numbers. Reference: pkg.go.dev/text/template.

mod exec;
mod functions;
mod lex;
mod number;
mod parse;
mod value;

#[cfg(test)]
mod tests;

pub use functions::Mode;
pub use value::{Record, Value};

use parse::Node;

/// A template that can be understood.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    text: String,
    nodes: Vec<Node>,
}

/// What is wrong, in Go's words: `template: :1:2: executing "" at <.Foo>: can't evaluate field Foo in type …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub String);

impl Template {
    /// Reads a template; `name` appears in errors only (Docker leaves it empty nearly everywhere).
    pub fn parse(name: &str, text: &str) -> Result<Template, TemplateError> {
        let nodes = parse::parse(text).map_err(|wrong| {
            let line = 1 + text[..wrong.at.min(text.len())].matches('\n').count();
            TemplateError(format!("template: {name}:{line}: {}", wrong.said))
        })?;
        Ok(Template { name: name.to_owned(), text: text.to_owned(), nodes })
    }

    /// What the template makes of `dot`.
    pub fn execute(&self, dot: &Value, mode: Mode) -> Result<String, TemplateError> {
        exec::execute(&self.nodes, dot, mode).map_err(|wrong| {
            let before = &self.text[..wrong.at.at.min(self.text.len())];
            let (line, column) =
                (1 + before.matches('\n').count(), wrong.at.at - before.rfind('\n').map_or(0, |n| n + 1));
            let name = &self.name;
            let place = format!("template: {name}:{line}:{column}: executing \"{name}\" at <{}>", wrong.at.text);
            TemplateError(format!("{place}: {}", wrong.said))
        })
    }
}
