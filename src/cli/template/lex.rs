//! Words of a template: text outside of `{{ }}`, and tokens inside.

use super::number::{self, Number};

/// What is wrong with the text, and where (a byte).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub at: usize,
    pub said: String,
}

/// One token of an action, with its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub at: usize,
    pub end: usize,
    /// White space stands before it: `.A .B` are two operands, `.A.B` is one.
    pub apart: bool,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    Word(String),
    /// `.Name`
    Field(String),
    Dot,
    /// `$` or `$name`
    Variable(String),
    Str(String),
    Number(Number),
    Pipe,
    Left,
    Right,
    Comma,
    Declare,
    Assign,
    End,
}

impl Kind {
    /// As Go names it in errors.
    pub fn named(&self) -> String {
        match self {
            Kind::End => "EOF".into(),
            Kind::Close => "\"}}\"".into(),
            Kind::Word(word) => format!("<{word}>"),
            Kind::Field(name) => format!("<.{name}>"),
            Kind::Dot => "<.>".into(),
            Kind::Variable(name) => format!("{name:?}"),
            Kind::Str(text) => format!("{:?}", format!("{text:?}")),
            Kind::Pipe => "\"|\"".into(),
            Kind::Left => "\"(\"".into(),
            Kind::Right => "\")\"".into(),
            Kind::Comma => "\",\"".into(),
            Kind::Declare => "\":=\"".into(),
            Kind::Assign => "\"=\"".into(),
            Kind::Open => "\"{{\"".into(),
            Kind::Number(_) | Kind::Text(_) => "literal".into(),
        }
    }
}

/// Takes the whole text apart.
pub fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut lexer = Lexer { text, at: 0, out: Vec::new() };
    let mut trim = false;
    while lexer.at < text.len() {
        let rest = &text[lexer.at..];
        let open = rest.find("{{");
        let mut literal = &rest[..open.unwrap_or(rest.len())];
        let start = lexer.at;
        lexer.at += literal.len();
        if trim {
            literal = literal.trim_start();
        }
        let trims_left = open.is_some() && trims(&text[lexer.at + 2..]);
        if trims_left {
            literal = literal.trim_end();
        }
        if !literal.is_empty() {
            lexer.push(start, false, Kind::Text(literal.to_owned()));
        }
        if open.is_none() {
            break;
        }
        lexer.at += if trims_left { 4 } else { 2 };
        trim = match lexer.comment()? {
            Some(trims) => trims,
            None => {
                lexer.push(lexer.at, false, Kind::Open);
                lexer.action()?
            }
        };
    }
    lexer.push(text.len(), false, Kind::End);
    Ok(lexer.out)
}

/// `- ` after `{{`: the trim marker needs its space.
fn trims(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|r| r.starts_with([' ', '\t', '\r', '\n']))
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    out: Vec<Token>,
}

impl Lexer<'_> {
    fn push(&mut self, at: usize, apart: bool, kind: Kind) {
        self.out.push(Token { at, end: self.at, apart, kind });
    }

    fn wrong<T>(&self, said: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong { at: self.at, said: said.into() })
    }

    /// `/* … */`, and whether what follows is trimmed; none if there is no comment.
    fn comment(&mut self) -> Result<Option<bool>, Wrong> {
        let rest = &self.text[self.at..];
        if !rest.starts_with("/*") {
            return Ok(None);
        }
        let Some(end) = rest.find("*/") else { return self.wrong("unclosed comment") };
        self.at += end + 2;
        let rest = &self.text[self.at..];
        let (trims, skip) = match rest {
            r if r.starts_with("}}") => (false, 2),
            r if r.trim_start().starts_with("-}}") && r.len() != r.trim_start().len() => {
                (true, r.len() - r.trim_start().len() + 3)
            }
            _ => return self.wrong("comment ends before closing delimiter"),
        };
        self.at += skip;
        Ok(Some(trims))
    }

    /// Tokens up to and with `}}`; whether the text behind it is trimmed.
    fn action(&mut self) -> Result<bool, Wrong> {
        let mut depth = 0usize;
        loop {
            let rest = &self.text[self.at..];
            let apart = rest.starts_with([' ', '\t', '\r', '\n']);
            let inner = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at += rest.len() - inner.len();
            let trims = apart && inner.starts_with("-}}");
            if trims || inner.starts_with("}}") {
                if depth > 0 {
                    return self.wrong("unclosed left paren");
                }
                let start = self.at;
                self.at += if trims { 3 } else { 2 };
                self.push(start, apart, Kind::Close);
                return Ok(trims);
            }
            let Some(first) = inner.chars().next() else { return self.wrong("unclosed action") };
            let start = self.at;
            let kind = self.token(first)?;
            match kind {
                Kind::Left => depth += 1,
                Kind::Right if depth == 0 => return self.wrong("unexpected right paren"),
                Kind::Right => depth -= 1,
                _ => {}
            }
            self.push(start, apart, kind);
        }
    }

    fn token(&mut self, first: char) -> Result<Kind, Wrong> {
        let rest = &self.text[self.at..];
        let word = |from: usize| {
            let tail = &rest[from..];
            &tail[..tail.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(tail.len())]
        };
        let (kind, length) = match first {
            '|' => (Kind::Pipe, 1),
            '(' => (Kind::Left, 1),
            ')' => (Kind::Right, 1),
            ',' => (Kind::Comma, 1),
            '=' => (Kind::Assign, 1),
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            ':' => return self.wrong("expected :="),
            '"' => return self.quoted(rest),
            '`' => match rest[1..].find('`') {
                Some(end) => (Kind::Str(rest[1..=end].to_owned()), end + 2),
                None => return self.wrong("unterminated raw quoted string"),
            },
            '$' => (Kind::Variable(format!("${}", word(1))), 1 + word(1).len()),
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => match word(1) {
                "" => (Kind::Dot, 1),
                name => (Kind::Field(name.to_owned()), 1 + name.len()),
            },
            '0'..='9' | '+' | '-' | '.' | '\'' => match number::read(rest) {
                Some((number, length)) => (Kind::Number(number), length),
                None => {
                    return self
                        .wrong(format!("bad number syntax: {:?}", rest.split([' ', '}']).next().unwrap_or(rest)));
                }
            },
            c if c.is_alphanumeric() || c == '_' => (Kind::Word(word(0).to_owned()), word(0).len()),
            c => return self.wrong(format!("unexpected bad character U+{:04X} '{c}' in command", c as u32)),
        };
        self.at += length;
        Ok(kind)
    }

    /// `"…"` with the escapes of Go that JSON has too.
    fn quoted(&mut self, rest: &str) -> Result<Kind, Wrong> {
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends || *c == '\n'
        });
        let Some((end, '"')) = end else { return self.wrong("unterminated quoted string") };
        let literal = &rest[..=end];
        match serde_json::from_str(&literal.replace('\t', "\\t")) {
            Ok(text) => {
                self.at += literal.len();
                Ok(Kind::Str(text))
            }
            Err(_) => self.wrong("invalid syntax"),
        }
    }
}
