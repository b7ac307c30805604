//! Tree and value → text.

use super::functions::{self, Mode};
use super::number::Number;
use super::parse::{At, Branch, Command, Node, Operand, Pipe, What};
use super::value::Value;
use serde_json::Value as Json;

/// What went wrong, and at which piece of the template.
#[derive(Debug)]
pub struct Wrong {
    pub at: At,
    pub said: String,
}

/// Why the nodes that follow are not carried out.
enum Flow {
    Goes,
    Breaks,
    Continues,
}

pub fn execute(nodes: &[Node], dot: &Value, mode: Mode) -> Result<String, Wrong> {
    let loose = !matches!(dot, Value::Record(_));
    let mut run = Run { out: String::new(), variables: vec![("$".into(), dot.clone())], mode, loose };
    run.list(nodes, dot)?;
    Ok(run.out)
}

struct Run {
    out: String,
    /// Innermost last.
    variables: Vec<(String, Value)>,
    mode: Mode,
    /// The data have no Go types.
    loose: bool,
}

fn wrong<T>(at: &At, said: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at: at.clone(), said: said.into() })
}

impl Run {
    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Wrong> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.out.push_str(&value.print());
                    }
                }
                Node::Break => return Ok(Flow::Breaks),
                Node::Continue => return Ok(Flow::Continues),
                Node::Range(branch) => self.range(branch, dot)?,
                Node::If(branch) | Node::With(branch) => {
                    let known = self.variables.len();
                    let value = self.pipe(&branch.pipe, dot)?;
                    let inner = if matches!(node, Node::With(_)) { &value } else { dot };
                    let flow = match value.is_true() {
                        true => self.list(&branch.body, inner)?,
                        false => self.list(&branch.otherwise, dot)?,
                    };
                    self.variables.truncate(known);
                    if !matches!(flow, Flow::Goes) {
                        return Ok(flow);
                    }
                }
            }
        }
        Ok(Flow::Goes)
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<(), Wrong> {
        let known = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let items: Vec<(Value, Value)> = match value {
            Value::Nothing | Value::Json(Json::Null) => Vec::new(),
            Value::Json(Json::Array(items)) => {
                items.into_iter().enumerate().map(|(i, v)| (Value::int(i as i64), Value::Json(v))).collect()
            }
            Value::Json(Json::Object(mut fields)) => {
                fields.sort_keys();
                fields.into_iter().map(|(k, v)| (Value::text(k), Value::Json(v))).collect()
            }
            Value::Json(Json::Number(n)) if n.is_i64() => {
                (0..n.as_i64().unwrap_or(0)).map(|i| (Value::int(i), Value::int(i))).collect()
            }
            other => return wrong(&branch.pipe.at, format!("range can't iterate over {}", other.print())),
        };
        if items.is_empty() {
            self.list(&branch.otherwise, dot)?;
        }
        for (key, item) in items {
            match branch.pipe.variables.as_slice() {
                [one] => self.bind(one, item.clone(), branch.pipe.assigns),
                [first, second] => {
                    self.bind(first, key, branch.pipe.assigns);
                    self.bind(second, item.clone(), branch.pipe.assigns);
                }
                _ => {}
            }
            let flow = self.list(&branch.body, &item)?;
            self.variables.truncate(known);
            if matches!(flow, Flow::Breaks) {
                break;
            }
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn bind(&mut self, name: &str, value: Value, assigns: bool) {
        match self.variables.iter_mut().rfind(|(n, _)| assigns && n == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, Wrong> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Nothing);
        if let [name] = pipe.variables.as_slice() {
            self.bind(name, value.clone(), pipe.assigns);
        }
        Ok(value)
    }

    /// `last` is what the command before it in the pipe gave: it is the last argument.
    fn command(&mut self, command: &Command, dot: &Value, last: Option<Value>) -> Result<Value, Wrong> {
        let Some((first, rest)) = command.operands.split_first() else { return Ok(Value::Nothing) };
        match &first.what {
            What::Function(name) => self.call(name, command, rest, dot, last),
            What::Field(_) | What::Variable(..) | What::Pipe(..) => {
                let mut arguments = Vec::new();
                for operand in rest {
                    arguments.push(self.operand(operand, dot, &[])?);
                }
                arguments.extend(last);
                self.operand(first, dot, &arguments)
            }
            _ if !rest.is_empty() || last.is_some() => {
                wrong(&first.at, format!("can't give argument to non-function {}", first.at.text))
            }
            What::Nil => wrong(&first.at, "nil is not a command"),
            _ => self.operand(first, dot, &[]),
        }
    }

    fn call(
        &mut self,
        name: &str,
        command: &Command,
        operands: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Wrong> {
        let mut arguments = Vec::new();
        for operand in operands {
            let value = self.operand(operand, dot, &[])?;
            // `and` and `or` look no further than they must.
            let decided = (name == "and" && !value.is_true()) || (name == "or" && value.is_true());
            if decided {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(last);
        functions::call(name, &arguments, self.mode).map_err(|said| Wrong {
            at: At {
                at: command.at.at,
                text: if said.starts_with("wrong number") { name.to_owned() } else { command.at.text.clone() },
            },
            said,
        })
    }

    fn operand(&mut self, operand: &Operand, dot: &Value, arguments: &[Value]) -> Result<Value, Wrong> {
        let at = &operand.at;
        match &operand.what {
            What::Dot => Ok(dot.clone()),
            What::Nil => Ok(Value::Json(Json::Null)),
            What::Bool(b) => Ok(Value::bool(*b)),
            What::Str(text) => Ok(Value::text(text.clone())),
            What::Number(Number::Int(n)) => Ok(Value::int(*n)),
            What::Number(Number::Float(n)) => Ok(Value::Json(Json::from(*n))),
            What::Function(name) => functions::call(name, &[], self.mode).or_else(|said| wrong(at, said)),
            What::Field(names) => self.fields(dot.clone(), names, arguments, at),
            What::Variable(name, names) => {
                let found = self.variables.iter().rfind(|(n, _)| n == name).map(|(_, v)| v.clone());
                self.fields(found.unwrap_or(Value::Nothing), names, arguments, at)
            }
            What::Pipe(pipe, names) => {
                let value = self.pipe(pipe, dot)?;
                self.fields(value, names, arguments, at)
            }
        }
    }

    /// A field of a field of …; arguments belong to the last one.
    fn fields(&self, mut value: Value, names: &[String], arguments: &[Value], at: &At) -> Result<Value, Wrong> {
        if names.is_empty() && !arguments.is_empty() {
            return wrong(at, format!("can't give argument to non-function {}", at.text));
        }
        for (i, name) in names.iter().enumerate() {
            let given = if i + 1 == names.len() { arguments } else { &[] };
            value = self.field(&value, name, given).or_else(|said| wrong(at, said))?;
        }
        Ok(value)
    }

    fn field(&self, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let count = |want: usize| format!("wrong number of args for {name}: want {want} got {}", arguments.len());
        let none = || match value.kind(self.loose) {
            "nil" => format!("nil pointer evaluating interface {{}}.{name}"),
            kind => format!("can't evaluate field {name} in type {kind}"),
        };
        match value {
            Value::Record(record) if name == "Label" && record.labels.is_some() => match arguments {
                [label] => Ok(Value::text(record.label(label.as_str().unwrap_or_default()))),
                _ => Err(count(1)),
            },
            Value::Record(record) => match record.fields.get(name) {
                Some(_) if !arguments.is_empty() => Err(count(0)),
                Some(field) => Ok(Value::Json(field.clone())),
                None if record.kind.is_none() => Ok(Value::Nothing),
                None => Err(none()),
            },
            Value::Json(Json::Object(fields)) => match entry(fields, name) {
                Some(_) if !arguments.is_empty() => Err(format!("{name} is not a method but has arguments")),
                Some(field) => Ok(Value::Json(field.clone())),
                None => Err(format!("map has no entry for key {name:?}")),
            },
            _ => Err(none()),
        }
    }
}

/// A field by its name in JSON, or by that of Docker's Go types, which differs in the case of letters (`.ID`, `.Id`).
fn entry<'a>(fields: &'a serde_json::Map<String, Json>, name: &str) -> Option<&'a Json> {
    let exact = fields.get(name);
    let go_like = name.starts_with(|c: char| c.is_ascii_uppercase());
    exact.or_else(|| fields.iter().find(|(key, _)| go_like && key.eq_ignore_ascii_case(name)).map(|(_, field)| field))
}
