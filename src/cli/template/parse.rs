//! Text → tree.

use super::functions;
use super::lex::{self, Kind, Token, Wrong};
use super::number::Number;

/// A piece of a template.
#[derive(Debug, Clone)]
pub enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
}

/// `{{if …}} body {{else}} otherwise {{end}}`
#[derive(Debug, Clone)]
pub struct Branch {
    pub pipe: Pipe,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// `$x := a | b | c`
#[derive(Debug, Clone)]
pub struct Pipe {
    pub variables: Vec<String>,
    /// `=`, not `:=`.
    pub assigns: bool,
    pub commands: Vec<Command>,
    pub at: At,
}

/// An operand, or a function or method with its arguments.
#[derive(Debug, Clone)]
pub struct Command {
    pub at: At,
    pub operands: Vec<Operand>,
}

/// Where something stands, for errors: a byte, and the text that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub at: usize,
    pub text: String,
}

#[derive(Debug, Clone)]
pub struct Operand {
    pub at: At,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Str(String),
    Function(String),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    /// `( … )`, and fields of what it gives.
    Pipe(Box<Pipe>, Vec<String>),
}

/// What ended a list of nodes.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Eof,
    End,
    Else,
}

pub fn parse(text: &str) -> Result<Vec<Node>, Wrong> {
    let tokens = lex::tokens(text)?;
    let mut parser = Parser { text, tokens: tokens.into_iter().peekable(), variables: vec!["$".into()], loops: 0 };
    let (nodes, ended) = parser.list()?;
    match ended {
        Ended::Eof => Ok(nodes),
        Ended::End => parser.wrong("unexpected {{end}}"),
        Ended::Else => parser.wrong("unexpected {{else}}"),
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    /// Names that are known here.
    variables: Vec<String>,
    loops: usize,
}

impl Parser<'_> {
    fn at(&mut self) -> usize {
        self.tokens.peek().map_or(self.text.len(), |t| t.at)
    }

    fn wrong<T>(&mut self, said: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong { at: self.at(), said: said.into() })
    }

    fn next(&mut self) -> Token {
        let end = self.text.len();
        self.tokens.next().unwrap_or(Token { at: end, end, apart: false, kind: Kind::End })
    }

    fn takes(&mut self, kind: &Kind) -> bool {
        self.tokens.next_if(|t| t.kind == *kind).is_some()
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.tokens.next_if(|t| matches!(&t.kind, Kind::Word(w) if w == word)).is_some()
    }

    fn close(&mut self, context: &str) -> Result<(), Wrong> {
        if self.takes(&Kind::Close) {
            return Ok(());
        }
        let found = self.next().kind.named();
        self.wrong(format!("unexpected {found} in {context}"))
    }

    fn spanning(&self, from: usize, end: usize) -> At {
        At { at: from, text: self.text[from..end].trim().to_owned() }
    }

    /// Nodes up to `{{end}}`, `{{else`, or the end of the text.
    fn list(&mut self) -> Result<(Vec<Node>, Ended), Wrong> {
        let mut nodes = Vec::new();
        loop {
            match self.next().kind {
                Kind::Text(text) => nodes.push(Node::Text(text)),
                Kind::End => return Ok((nodes, Ended::Eof)),
                _ if self.takes_word("end") => {
                    self.close("end")?;
                    return Ok((nodes, Ended::End));
                }
                _ if self.takes_word("else") => return Ok((nodes, Ended::Else)),
                _ => nodes.push(self.action()?),
            }
        }
    }

    fn action(&mut self) -> Result<Node, Wrong> {
        if self.takes_word("if") {
            return self.branch("if").map(Node::If);
        }
        if self.takes_word("with") {
            return self.branch("with").map(Node::With);
        }
        if self.takes_word("range") {
            self.loops += 1;
            let branch = self.branch("range")?;
            self.loops -= 1;
            return Ok(Node::Range(branch));
        }
        for (word, node) in [("break", Node::Break), ("continue", Node::Continue)] {
            if self.takes_word(word) {
                if self.loops == 0 {
                    return self.wrong(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.close(word)?;
                return Ok(node);
            }
        }
        let pipe = self.pipe("command", &Kind::Close)?;
        Ok(Node::Action(pipe))
    }

    fn branch(&mut self, word: &str) -> Result<Branch, Wrong> {
        let known = self.variables.len();
        let pipe = self.pipe(word, &Kind::Close)?;
        let (body, mut ended) = self.list()?;
        let mut otherwise = Vec::new();
        if ended == Ended::Else {
            // `{{else if …}}` is an if within the else; its end is the end of both.
            let nested = ["if", "with"].into_iter().find(|w| word != "range" && self.takes_word(w));
            match nested {
                Some("if") => otherwise.push(Node::If(self.branch("if")?)),
                Some(_) => otherwise.push(Node::With(self.branch("with")?)),
                None => {
                    self.close("else")?;
                    (otherwise, ended) = self.list()?;
                }
            }
            if nested.is_some() {
                ended = Ended::End;
            }
        }
        self.variables.truncate(known);
        match ended {
            Ended::End => Ok(Branch { pipe, body, otherwise }),
            Ended::Eof => self.wrong("unexpected EOF"),
            Ended::Else => self.wrong("expected end; found {{else}}"),
        }
    }

    /// Commands up to and with the token `end`.
    fn pipe(&mut self, context: &str, end: &Kind) -> Result<Pipe, Wrong> {
        let from = self.at();
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            commands.push(self.command(context)?);
            if self.takes(end) {
                break;
            }
            if !self.takes(&Kind::Pipe) {
                let found = self.next().kind.named();
                return self.wrong(format!("unexpected {found} in {context}"));
            }
        }
        let last = commands.last().map_or(from, |c: &Command| c.at.at + c.at.text.len());
        Ok(Pipe { variables, assigns, commands, at: self.spanning(from, last) })
    }

    /// `$x :=`, `$i, $x :=`, `$x =`; nothing is taken when none of them is there.
    fn declarations(&mut self, context: &str) -> Result<(Vec<String>, bool), Wrong> {
        let mut ahead = self.tokens.clone();
        let mut names = Vec::new();
        while let Some(Token { kind: Kind::Variable(name), .. }) = ahead.next() {
            names.push(name);
            match ahead.next().map(|t| t.kind) {
                Some(Kind::Comma) if context == "range" && names.len() < 2 => {}
                Some(kind @ (Kind::Declare | Kind::Assign)) => {
                    self.tokens = ahead;
                    let assigns = kind == Kind::Assign;
                    if !assigns {
                        self.variables.extend(names.iter().cloned());
                    }
                    return Ok((names, assigns));
                }
                _ => break,
            }
        }
        Ok((Vec::new(), false))
    }

    fn command(&mut self, context: &str) -> Result<Command, Wrong> {
        let from = self.at();
        let mut operands = Vec::new();
        let mut end = from;
        while let Some(operand) = self.operand(&mut end)? {
            operands.push(operand);
            let next = self.tokens.peek();
            let ends = next.is_none_or(|t| matches!(t.kind, Kind::Close | Kind::Pipe | Kind::Right));
            if !ends && next.is_some_and(|t| !t.apart) {
                let found = self.next().kind.named();
                return self.wrong(format!("unexpected {found} in operand"));
            }
        }
        match operands.first() {
            None => self.wrong(format!("missing value for {context}")),
            Some(_) => Ok(Command { at: self.spanning(from, end), operands }),
        }
    }

    /// One operand with the fields behind it; none when something else comes.
    fn operand(&mut self, end: &mut usize) -> Result<Option<Operand>, Wrong> {
        let Some(token) = self.tokens.next_if(|t| {
            !matches!(
                t.kind,
                Kind::Close
                    | Kind::Pipe
                    | Kind::Right
                    | Kind::Comma
                    | Kind::Declare
                    | Kind::Assign
                    | Kind::End
                    | Kind::Open
            )
        }) else {
            return Ok(None);
        };
        let (from, mut at) = (token.at, token.at);
        *end = token.end;
        let mut what = match token.kind {
            Kind::Word(word) => self.word(word)?,
            Kind::Field(name) => What::Field(vec![name]),
            Kind::Dot => What::Dot,
            Kind::Variable(name) if self.variables.contains(&name) => What::Variable(name, Vec::new()),
            Kind::Variable(name) => return self.wrong(format!("undefined variable {name:?}")),
            Kind::Str(text) => What::Str(text),
            Kind::Number(number) => What::Number(number),
            _ => {
                let pipe = self.pipe("parenthesized pipeline", &Kind::Right)?;
                *end = self.text[..self.at()].rfind(')').map_or(*end, |at| at + 1);
                What::Pipe(Box::new(pipe), Vec::new())
            }
        };
        let mut chained = false;
        while let Some(Token { at: place, end: after, kind: Kind::Field(name), .. }) =
            self.tokens.next_if(|t| !t.apart && matches!(t.kind, Kind::Field(_)))
        {
            // Go puts an operand with several fields where the second of them begins.
            if !chained {
                at = place;
            }
            (chained, *end) = (true, after);
            match &mut what {
                What::Field(names) | What::Variable(_, names) | What::Pipe(_, names) => names.push(name),
                _ => {
                    return self
                        .wrong(format!("unexpected . after term {:?}", self.text[from..place].trim().to_owned()));
                }
            }
        }
        let text = self.text[from..*end].trim().to_owned();
        Ok(Some(Operand { at: At { at, text }, what }))
    }

    fn word(&mut self, word: String) -> Result<What, Wrong> {
        match word.as_str() {
            "true" => Ok(What::Bool(true)),
            "false" => Ok(What::Bool(false)),
            "nil" => Ok(What::Nil),
            name if functions::known(name) => Ok(What::Function(word)),
            name => self.wrong(format!("function {name:?} not defined")),
        }
    }
}
