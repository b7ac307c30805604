//! A very small assembler: system calls, and jumps on their results, for the two processors that rdock knows.
//!
//! A program is a list of [`Op`]s over a few slots (registers that a system call keeps), one buffer on the stack and
//! constant data behind the code. That is all that a server needs which answers everybody the same.

use super::elf::{Machine, executable};

/// An argument of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    Number(u32),
    /// What [`Op::Keep`] kept.
    Slot(u8),
    /// The address of constant data, by its index.
    Data(usize),
    /// The address of the buffer.
    Buffer,
}

/// Constant data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Bytes(Vec<u8>),
    /// Eight-byte words, some of which are addresses of labels: what `rt_sigaction(2)` reads.
    Words(Vec<Word>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Number(u64),
    Label(&'static str),
}

/// A system call by its numbers on x86-64 and on arm64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sys(pub u32, pub u32);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Its result is *the* result from then on.
    Call(Sys, Vec<Arg>),
    /// Puts the result into a slot.
    Keep(u8),
    Label(&'static str),
    Goto(&'static str),
    IfNegative(&'static str),
    IfNotPositive(&'static str),
    /// The buffer holds as many bytes as the result says: ends its first line with a line feed; the result is then the
    /// line's length with it.
    CutLine,
}

/// Bytes of the buffer. One more than is ever read is there, for the line feed.
pub const BUFFER: u32 = 8192;

/// The whole executable.
pub fn assemble(machine: Machine, ops: &[Op], data: &[Data]) -> Vec<u8> {
    // Lengths do not depend on addresses, so it is assembled twice.
    let draft = Assembly::of(machine, ops, &[], 0);
    executable(machine, |base| {
        let code_end = base + draft.code.len() as u32;
        let mut addresses = Vec::new();
        let mut at = code_end;
        for item in data {
            addresses.push(at);
            at += length(item);
        }
        let assembly = Assembly::of(machine, ops, &addresses, base);
        let mut out = assembly.code.clone();
        data.iter().for_each(|item| put(&mut out, item, &assembly));
        out
    })
}

/// A multiple of eight, so that every item is aligned as the code's end is not: the kernel copies, and does not mind.
fn length(item: &Data) -> u32 {
    match item {
        Data::Bytes(bytes) => bytes.len() as u32,
        Data::Words(words) => 8 * words.len() as u32,
    }
}

fn put(out: &mut Vec<u8>, item: &Data, assembly: &Assembly) {
    match item {
        Data::Bytes(bytes) => out.extend_from_slice(bytes),
        Data::Words(words) => {
            for word in words {
                let value = match word {
                    Word::Number(n) => *n,
                    Word::Label(label) => u64::from(assembly.base) + assembly.label(label) as u64,
                };
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}

struct Assembly {
    base: u32,
    code: Vec<u8>,
    /// Where each label stands, in bytes of the code.
    labels: Vec<(&'static str, usize)>,
    /// Jumps to be filled in: where the instruction begins, to which label.
    jumps: Vec<(usize, &'static str, Jump)>,
}

#[derive(Clone, Copy)]
enum Jump {
    /// x86-64: the last four bytes of a jump, counted from its end.
    Near(usize),
    /// arm64: a word, with so many bits of distance, in instructions, at this bit.
    Word { bits: u32, at: u32 },
}

impl Assembly {
    fn of(machine: Machine, ops: &[Op], data: &[u32], base: u32) -> Assembly {
        let mut assembly = Assembly { base, code: Vec::new(), labels: Vec::new(), jumps: Vec::new() };
        match machine {
            Machine::X86_64 => {
                assembly.bytes(&[0x48, 0x81, 0xec]); // sub rsp, BUFFER
                assembly.word(BUFFER);
                ops.iter().for_each(|op| assembly.x86(op, data));
            }
            Machine::Aarch64 => {
                assembly.word(0xd140_0000 | (BUFFER >> 12) << 10 | 31 << 5 | 31); // sub sp, sp, BUFFER
                ops.iter().for_each(|op| assembly.arm(op, data));
            }
        }
        assembly.fill_in_jumps();
        assembly
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_le_bytes());
    }

    /// A label that nobody placed leads to the start; the tests know every program.
    fn label(&self, name: &str) -> usize {
        self.labels.iter().find(|(n, _)| *n == name).map_or(0, |(_, at)| *at)
    }

    fn fill_in_jumps(&mut self) {
        for (from, label, jump) in std::mem::take(&mut self.jumps) {
            let target = self.label(label) as i64;
            match jump {
                Jump::Near(length) => {
                    let end = from + length;
                    let distance = (target - end as i64) as i32;
                    self.code[end - 4..end].copy_from_slice(&distance.to_le_bytes());
                }
                Jump::Word { bits, at } => {
                    let distance = ((target - from as i64) / 4) as u32 & ((1 << bits) - 1);
                    let mut word = [0; 4];
                    word.copy_from_slice(&self.code[from..from + 4]);
                    let word = u32::from_le_bytes(word) | distance << at;
                    self.code[from..from + 4].copy_from_slice(&word.to_le_bytes());
                }
            }
        }
    }

    /// Arguments in rdi rsi rdx r10 r8 r9, the number in rax, the result in rax (syscall(2)). Slots are rbx, rbp and
    /// r12 to r15, which a system call keeps.
    fn x86(&mut self, op: &Op, data: &[u32]) {
        const ARGS: [u8; 6] = [7, 6, 2, 10, 8, 9];
        const SLOTS: [u8; 6] = [3, 5, 12, 13, 14, 15];
        let from = self.code.len();
        match op {
            Op::Call(Sys(number, _), args) => {
                for (to, arg) in ARGS.iter().zip(args) {
                    match arg {
                        Arg::Number(n) => self.x86_load(*to, *n),
                        Arg::Data(at) => self.x86_load(*to, data.get(*at).copied().unwrap_or(0)),
                        Arg::Slot(slot) => self.x86_move(*to, SLOTS[usize::from(*slot)]),
                        Arg::Buffer => self.x86_move(*to, 4), // rsp
                    }
                }
                self.x86_load(0, *number);
                self.bytes(&[0x0f, 0x05]); // syscall
            }
            Op::Keep(slot) => self.x86_move(SLOTS[usize::from(*slot)], 0),
            Op::Label(name) => self.labels.push((name, from)),
            Op::Goto(label) => {
                self.bytes(&[0xe9, 0, 0, 0, 0]); // jmp
                self.jumps.push((from, label, Jump::Near(5)));
            }
            Op::IfNegative(label) => {
                self.bytes(&[0x48, 0x85, 0xc0, 0x0f, 0x88, 0, 0, 0, 0]); // test rax, rax; js
                self.jumps.push((from, label, Jump::Near(9)));
            }
            Op::IfNotPositive(label) => {
                self.bytes(&[0x48, 0x85, 0xc0, 0x0f, 0x8e, 0, 0, 0, 0]); // test rax, rax; jle
                self.jumps.push((from, label, Jump::Near(9)));
            }
            Op::CutLine => {
                self.bytes(&[0x31, 0xc9]); //             xor ecx, ecx
                self.bytes(&[0x48, 0x39, 0xc1]); //       again: cmp rcx, rax
                self.bytes(&[0x7d, 11]); //               jge done
                self.bytes(&[0x80, 0x3c, 0x0c, 0x20]); // cmp byte [rsp+rcx], ' '
                self.bytes(&[0x72, 5]); //                jb done
                self.bytes(&[0x48, 0xff, 0xc1]); //       inc rcx
                self.bytes(&[0xeb, 0xf0]); //             jmp again          16 bytes back
                self.bytes(&[0xc6, 0x04, 0x0c, 0x0a]); // done: mov byte [rsp+rcx], '\n'
                self.bytes(&[0x48, 0x8d, 0x41, 1]); //    lea rax, [rcx+1]
            }
        }
    }

    /// `mov r32, n`: clears the upper half.
    fn x86_load(&mut self, to: u8, n: u32) {
        if to >= 8 {
            self.bytes(&[0x41]);
        }
        self.bytes(&[0xb8 | to & 7]);
        self.word(n);
    }

    /// `mov to, from`, 64 bits.
    fn x86_move(&mut self, to: u8, from: u8) {
        self.bytes(&[0x48 | (from >> 3) << 2 | to >> 3, 0x89, 0xc0 | (from & 7) << 3 | to & 7]);
    }

    /// Arguments in x0 to x5, the number in x8, the result in x0. Slots are x19 to x24.
    fn arm(&mut self, op: &Op, data: &[u32]) {
        let from = self.code.len();
        let slot = |n: u8| u32::from(n) + 19;
        let word = |bits, at| Jump::Word { bits, at };
        match op {
            Op::Call(Sys(_, number), args) => {
                for (to, arg) in (0u32..).zip(args) {
                    match arg {
                        Arg::Number(n) => self.arm_load(to, *n),
                        Arg::Data(at) => self.arm_load(to, data.get(*at).copied().unwrap_or(0)),
                        Arg::Slot(n) => self.word(0xaa00_03e0 | slot(*n) << 16 | to), // mov
                        Arg::Buffer => self.word(0x9100_0000 | 31 << 5 | to),         // mov xN, sp
                    }
                }
                self.arm_load(8, *number);
                self.word(0xd400_0001); // svc
            }
            Op::Keep(n) => self.word(0xaa00_03e0 | slot(*n)), // mov xN, x0
            Op::Label(name) => self.labels.push((name, from)),
            Op::Goto(label) => {
                self.word(0x1400_0000); // b
                self.jumps.push((from, label, word(26, 0)));
            }
            Op::IfNegative(label) => {
                self.word(0xb7f8_0000); // tbnz x0, #63
                self.jumps.push((from, label, word(14, 5)));
            }
            Op::IfNotPositive(label) => {
                self.word(0xf100_001f); //      cmp x0, #0
                self.word(0x5400_0000 | 13); // b.le
                self.jumps.push((from + 4, label, word(19, 5)));
            }
            Op::CutLine => self.arm_cut_line(),
        }
    }

    fn arm_load(&mut self, to: u32, n: u32) {
        self.word(0xd280_0000 | (n & 0xffff) << 5 | to); // movz
        self.word(0xf2a0_0000 | (n >> 16) << 5 | to); //    movk, lsl 16
    }

    fn arm_cut_line(&mut self) {
        let branch_if = |condition: u32, distance: i32| 0x5400_0000 | (distance as u32 & 0x7_ffff) << 5 | condition;
        const GE: u32 = 10;
        const LO: u32 = 3;
        const X10_IS_SP_PLUS_X9: u32 = 0x8b20_6000 | 9 << 16 | 31 << 5 | 10;
        for word in [
            0xd280_0009,                               // mov x9, #0
            0xeb00_013f,                               // again: cmp x9, x0
            branch_if(GE, 7),                          // to done
            X10_IS_SP_PLUS_X9,                         // add x10, sp, x9
            0x3940_0000 | 10 << 5 | 11,                // ldrb w11, [x10]
            0x7100_0000 | 32 << 10 | 11 << 5 | 31,     // cmp w11, #' '
            branch_if(LO, 3),                          // to done
            0x9100_0000 | 1 << 10 | 9 << 5 | 9,        // add x9, x9, #1
            0x1400_0000 | (-7i32 as u32 & 0x3ff_ffff), // b again
            X10_IS_SP_PLUS_X9,                         // done: add x10, sp, x9
            0xd280_0000 | 10 << 5 | 11,                // mov x11, #'\n'
            0x3900_0000 | 10 << 5 | 11,                // strb w11, [x10]
            0x9100_0000 | 1 << 10 | 9 << 5,            // add x0, x9, #1
        ] {
            self.word(word);
        }
    }
}
