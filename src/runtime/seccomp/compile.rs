//! From a profile to the program that the kernel runs at each system call (classic BPF, seccomp(2)).
//!
//! The program finds the architecture, then the call's number by halving: some sixty ranges of numbers with one answer
//! each take six comparisons. Each part ends with a return and jumps only forward and inside of itself, so parts are put
//! behind each other as they are.

use super::{Action, Arch, Condition, Op, Profile, Program, Rule, X32_BIT};
use std::collections::BTreeMap;

/// `BPF_LD | BPF_W | BPF_ABS`: loads a word of `struct seccomp_data`.
pub(super) const LOAD: u16 = 0x20;
/// `BPF_JMP | … | BPF_K`
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const JUMP_GREATER: u16 = 0x25;
pub(super) const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
/// `BPF_ALU | BPF_AND | BPF_K`
pub(super) const AND: u16 = 0x54;
/// `BPF_RET | BPF_K`
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data` (linux/seccomp.h): number, architecture, instruction pointer, six arguments.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// One instruction (`struct sock_filter`); the jumps count instructions after the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub code: u16,
    pub yes: u8,
    pub no: u8,
    pub k: u32,
}

type Code = Vec<Instruction>;

fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, yes: 0, no: 0, k }
}

/// What a number leads to: an answer, or the rules (by position) that look at arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leaf {
    Answer(Action),
    Look(Vec<usize>),
}

/// Compiles a profile.
pub fn compile(profile: &Profile) -> Program {
    let mut code = vec![plain(LOAD, ARCH)];
    let mut arches: BTreeMap<u32, Vec<Arch>> = BTreeMap::new();
    for arch in &profile.arches {
        arches.entry(arch.audit()).or_default().push(*arch);
    }
    // The machine's own first: most calls are its.
    for (audit, arches) in arches.iter().rev() {
        let mut section = vec![plain(LOAD, NUMBER)];
        section.extend(search(profile, &ranges(profile, arches)));
        code.push(Instruction { code: JUMP_EQUAL, yes: 1, no: 0, k: *audit });
        code.push(plain(JUMP, section.len() as u32));
        code.extend(section);
    }
    code.push(plain(RETURN, Action::KillProcess.value()));
    code.iter().map(bytes).collect()
}

fn bytes(i: &Instruction) -> [u8; 8] {
    let ([a, b], [e, f, g, h]) = (i.code.to_ne_bytes(), i.k.to_ne_bytes());
    [a, b, i.yes, i.no, e, f, g, h]
}

/// Ranges of numbers with the same leaf, each by its first number; the first begins at 0, the last goes on for ever.
fn ranges(profile: &Profile, arches: &[Arch]) -> Vec<(u32, Leaf)> {
    let foreign = Leaf::Answer(Action::KillProcess);
    let mut ranges: Vec<(u32, Leaf)> = vec![];
    let mut push = |first: u32, leaf: Leaf| {
        if ranges.last().is_none_or(|(_, last)| *last != leaf) {
            ranges.push((first, leaf));
        }
    };
    let native = arches.iter().find(|a| **a != Arch::X32);
    let x32 = arches.iter().find(|a| **a == Arch::X32);
    for (arch, first) in [(native, 0), (x32, X32_BIT)] {
        let Some(arch) = arch else {
            // Only x86_64 has a second half.
            if first == 0 || arches.contains(&Arch::X86_64) {
                push(first, foreign.clone());
            }
            continue;
        };
        let mut next = first;
        for (number, leaf) in leaves(profile, *arch) {
            if number > next {
                push(next, Leaf::Answer(profile.default));
            }
            push(number, leaf);
            next = number + 1;
        }
        push(next, Leaf::Answer(profile.unknown()));
    }
    ranges
}

/// Each number of an architecture, with what it leads to.
fn leaves(profile: &Profile, arch: Arch) -> BTreeMap<u32, Leaf> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, rule) in profile.rules.iter().enumerate() {
        for name in &rule.names {
            by_name.entry(name).or_default().push(at);
        }
    }
    let mut by_number: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (number, name) in arch.calls() {
        by_number.entry(number).or_default().extend(by_name.get(name).into_iter().flatten());
    }
    by_number
        .into_iter()
        .map(|(number, mut rules)| {
            rules.sort_unstable();
            rules.dedup();
            let sure = rules.iter().position(|at| profile.rules[*at].conditions.is_empty());
            let leaf = match sure {
                Some(0) => Leaf::Answer(profile.rules[rules[0]].action),
                Some(last) => Leaf::Look(rules[..=last].to_vec()),
                None if rules.is_empty() => Leaf::Answer(profile.default),
                None => Leaf::Look(rules),
            };
            (number, leaf)
        })
        .collect()
}

/// Finds the range of the number by halving.
fn search(profile: &Profile, ranges: &[(u32, Leaf)]) -> Code {
    match ranges {
        [] => vec![plain(RETURN, profile.default.value())],
        [(_, Leaf::Answer(action))] => vec![plain(RETURN, action.value())],
        [(_, Leaf::Look(rules))] => look(profile, rules),
        _ => {
            let middle = ranges.len() / 2;
            let (low, high) = (search(profile, &ranges[..middle]), search(profile, &ranges[middle..]));
            let k = ranges[middle].0;
            let mut code = match u8::try_from(low.len()) {
                Ok(yes) => vec![Instruction { code: JUMP_GREATER_OR_EQUAL, yes, no: 0, k }],
                // Too far for a condition's jump.
                Err(_) => {
                    vec![Instruction { code: JUMP_GREATER_OR_EQUAL, yes: 0, no: 1, k }, plain(JUMP, low.len() as u32)]
                }
            };
            code.extend(low);
            code.extend(high);
            code
        }
    }
}

/// The rules that look at arguments, one after the other; the default when none fits.
fn look(profile: &Profile, rules: &[usize]) -> Code {
    let rules: Vec<&Rule> = rules.iter().map(|at| &profile.rules[*at]).collect();
    let mut code = vec![];
    let mut at = 0;
    while at < rules.len() {
        let alike = rules[at..].iter().take_while(|rule| same_word(rules[at], rule)).count().min(100);
        if alike > 1 {
            code.extend(one_of(&rules[at..at + alike]));
        } else {
            code.extend(one(rules[at]));
        }
        at += alike.max(1);
    }
    code.push(plain(RETURN, profile.default.value()));
    code
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

fn low(value: u64) -> u32 {
    value as u32
}

/// Both say "this argument equals" and the upper halves are the same: they share the loading.
fn same_word(a: &Rule, b: &Rule) -> bool {
    match (a.conditions.as_slice(), b.conditions.as_slice()) {
        ([x], [y]) => {
            (x.op, y.op) == (Op::Equal, Op::Equal)
                && x.index == y.index
                && high(x.value) == high(y.value)
                && a.action == b.action
        }
        _ => false,
    }
}

/// One argument, many values.
fn one_of(rules: &[&Rule]) -> Code {
    let (index, first) = (rules[0].conditions[0].index, rules[0].conditions[0].value);
    let count = rules.len() as u8;
    // After the comparisons: a jump over the return.
    let mut code = vec![
        load(index, true),
        Instruction { code: JUMP_EQUAL, yes: 0, no: count + 3, k: high(first) },
        load(index, false),
    ];
    for (at, rule) in rules.iter().enumerate() {
        let yes = count - at as u8;
        code.push(Instruction { code: JUMP_EQUAL, yes, no: 0, k: low(rule.conditions[0].value) });
    }
    code.push(plain(JUMP, 1));
    code.push(plain(RETURN, rules[0].action.value()));
    code
}

/// One rule: its conditions, each of which leads past the rule when it does not hold, and its answer.
fn one(rule: &Rule) -> Code {
    let parts: Vec<Vec<Part>> = rule.conditions.iter().map(condition).collect();
    let length: usize = parts.iter().map(Vec::len).sum();
    let mut code = vec![];
    for part in parts {
        let end = code.len() + part.len();
        for piece in part {
            // Where the jump is counted from: the instruction after it.
            let from = code.len() + 1;
            let target = |way: Way| match way {
                Way::Next => 0,
                Way::Holds => (end - from) as u8,
                Way::Fails => (length + 1 - from) as u8,
            };
            code.push(match piece {
                Part::Do(instruction) => instruction,
                Part::Ask { code, k, yes, no } => Instruction { code, yes: target(yes), no: target(no), k },
            });
        }
    }
    code.push(plain(RETURN, rule.action.value()));
    code
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Next,
    /// The condition holds: on to the next one.
    Holds,
    /// It does not: past the rule.
    Fails,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Do(Instruction),
    Ask { code: u16, k: u32, yes: Way, no: Way },
}

/// The upper or lower half of an argument.
fn load(index: u8, upper: bool) -> Instruction {
    let upper_first = cfg!(target_endian = "big");
    plain(LOAD, ARGS + 8 * u32::from(index) + if upper == upper_first { 0 } else { 4 })
}

/// A comparison of 64 bits, in two halves: the upper decides unless it is equal.
fn condition(c: &Condition) -> Vec<Part> {
    use Way::{Fails, Holds, Next};
    let ask = |code, k, yes, no| Part::Ask { code, k, yes, no };
    let (upper, lower) = (Part::Do(load(c.index, true)), Part::Do(load(c.index, false)));
    let (h, l) = (high(c.value), low(c.value));
    match c.op {
        Op::Equal => {
            vec![upper, ask(JUMP_EQUAL, h, Next, Fails), lower, ask(JUMP_EQUAL, l, Holds, Fails)]
        }
        Op::NotEqual => {
            vec![upper, ask(JUMP_EQUAL, h, Next, Holds), lower, ask(JUMP_EQUAL, l, Fails, Holds)]
        }
        Op::MaskedEqual => vec![
            upper,
            Part::Do(plain(AND, h)),
            ask(JUMP_EQUAL, high(c.value_two), Next, Fails),
            lower,
            Part::Do(plain(AND, l)),
            ask(JUMP_EQUAL, low(c.value_two), Holds, Fails),
        ],
        Op::Greater | Op::GreaterOrEqual => {
            let code = if c.op == Op::Greater { JUMP_GREATER } else { JUMP_GREATER_OR_EQUAL };
            vec![
                upper,
                ask(JUMP_GREATER, h, Holds, Next),
                ask(JUMP_EQUAL, h, Next, Fails),
                lower,
                ask(code, l, Holds, Fails),
            ]
        }
        Op::Less | Op::LessOrEqual => {
            let code = if c.op == Op::Less { JUMP_GREATER_OR_EQUAL } else { JUMP_GREATER };
            vec![
                upper,
                ask(JUMP_GREATER, h, Fails, Next),
                ask(JUMP_EQUAL, h, Next, Holds),
                lower,
                ask(code, l, Fails, Holds),
            ]
        }
    }
}
