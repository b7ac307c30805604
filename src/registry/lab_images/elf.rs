//! A whole executable, written byte by byte: it prints a text and ends.
//!
//! No compiler, no linker, no C library: an ELF header (elf(5)), two program headers, a dozen machine
//! instructions, and the text. `/hello` of the lab's hello-world image is made by this, which shows how
//! little an image needs: one file.

/// The processors that rdock can write instructions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// The processor of this build of rdock, if it is one of those.
    pub fn of_host() -> Option<Machine> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Machine::X86_64),
            "aarch64" => Some(Machine::Aarch64),
            _ => None,
        }
    }

    /// `e_machine` of the ELF header.
    fn e_machine(self) -> u16 {
        match self {
            Machine::X86_64 => 62,
            Machine::Aarch64 => 183,
        }
    }

    /// The alignment of the segment: the largest page size that kernels for it are built with.
    fn page(self) -> u64 {
        match self {
            Machine::X86_64 => 0x1000,
            Machine::Aarch64 => 0x1_0000,
        }
    }
}

/// Where the file is mapped. Below 4 GiB, so an address fits the 32-bit immediates used here.
const BASE: u64 = 0x40_0000;
const EHDR: usize = 64;
const PHDR: usize = 56;
const PT_LOAD: u32 = 1;
/// Says that the stack need not be executable.
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// An executable that writes `text` to its standard output and ends with 0, or with 1 when it could not.
/// Texts up to 4 GiB − 5 MiB (the addresses are 32 bits wide); longer ones are cut there.
pub fn hello(machine: Machine, text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(0xffb0_0000)];
    executable(machine, |base| {
        // The code's length does not depend on the address in it, so it is assembled twice.
        let length = code(machine, 0, text.len() as u32).len() as u32;
        let mut content = code(machine, base + length, text.len() as u32);
        content.extend_from_slice(text);
        content
    })
}

/// A file of headers and `content`, which begins with code and is told the address that it is mapped to.
pub(super) fn executable(machine: Machine, content: impl FnOnce(u32) -> Vec<u8>) -> Vec<u8> {
    let code_at = EHDR + 2 * PHDR;
    let content = content(BASE as u32 + code_at as u32);
    let size = (code_at + content.len()) as u64;
    let mut file = Vec::with_capacity(size as usize);
    elf_header(&mut file, machine, BASE + code_at as u64);
    program_header(&mut file, PT_LOAD, PF_R | PF_X, BASE, size, machine.page());
    program_header(&mut file, PT_GNU_STACK, PF_R | PF_W, 0, 0, 16);
    file.extend_from_slice(&content);
    file
}

fn elf_header(out: &mut Vec<u8>, machine: Machine, entry: u64) {
    out.extend_from_slice(b"\x7fELF");
    out.extend_from_slice(&[2, 1, 1, 0]); // 64 bit, little endian, version 1, System V
    out.extend_from_slice(&[0; 8]);
    put16(out, 2); // ET_EXEC
    put16(out, machine.e_machine());
    put32(out, 1);
    put64(out, entry);
    put64(out, EHDR as u64); // program headers follow at once
    put64(out, 0); // no section headers
    put32(out, 0);
    put16(out, EHDR as u16);
    put16(out, PHDR as u16);
    put16(out, 2);
    put16(out, 64); // size of a section header, of which there are none
    put16(out, 0);
    put16(out, 0);
}

/// One `Elf64_Phdr` that starts at the file's first byte.
fn program_header(out: &mut Vec<u8>, kind: u32, flags: u32, address: u64, size: u64, align: u64) {
    put32(out, kind);
    put32(out, flags);
    put64(out, 0);
    put64(out, address);
    put64(out, address);
    put64(out, size);
    put64(out, size);
    put64(out, align);
}

fn code(machine: Machine, text: u32, len: u32) -> Vec<u8> {
    match machine {
        Machine::X86_64 => code_x86_64(text, len),
        Machine::Aarch64 => code_aarch64(text, len),
    }
}

/// System calls: number in rax, arguments in rdi rsi rdx; `syscall` changes rax, rcx and r11 only.
/// The jump distances are counted in bytes from the end of the jump.
fn code_x86_64(text: u32, len: u32) -> Vec<u8> {
    let mut c = vec![0xbf, 1, 0, 0, 0]; //      mov edi, 1           standard output
    c.push(0xbe); //                            mov esi, text
    put32(&mut c, text);
    c.push(0xba); //                            mov edx, len
    put32(&mut c, len);
    c.extend_from_slice(&[0xb8, 1, 0, 0, 0]); //   again: mov eax, 1    write(2)
    c.extend_from_slice(&[0x0f, 0x05]); //         syscall
    c.extend_from_slice(&[0x48, 0x85, 0xc0]); //   test rax, rax
    c.extend_from_slice(&[0x7e, 12]); //           jle failed
    c.extend_from_slice(&[0x48, 0x01, 0xc6]); //   add rsi, rax         a pipe may take less than all
    c.extend_from_slice(&[0x48, 0x29, 0xc2]); //   sub rdx, rax
    c.extend_from_slice(&[0x75, 0xec]); //         jnz again            20 bytes back
    c.extend_from_slice(&[0x31, 0xff]); //         xor edi, edi         status 0
    c.extend_from_slice(&[0xeb, 5]); //            jmp end
    c.extend_from_slice(&[0xbf, 1, 0, 0, 0]); //   failed: mov edi, 1   status 1
    c.extend_from_slice(&[0xb8, 60, 0, 0, 0]); //  end: mov eax, 60     exit(2)
    c.extend_from_slice(&[0x0f, 0x05]); //         syscall
    c
}

/// System calls: number in x8, arguments in x0 x1 x2, result in x0; `svc` keeps the rest.
/// Branch distances are counted in instructions from the branch itself.
fn code_aarch64(text: u32, len: u32) -> Vec<u8> {
    let movz = |reg: u32, value: u32| 0xd280_0000 | (value & 0xffff) << 5 | reg;
    let movk16 = |reg: u32, value: u32| 0xf2a0_0000 | (value >> 16) << 5 | reg;
    let branch_if = |condition: u32, distance: i32| 0x5400_0000 | (distance as u32 & 0x7_ffff) << 5 | condition;
    const SVC: u32 = 0xd400_0001;
    const NE: u32 = 1;
    const LE: u32 = 13;
    let words = [
        movz(1, text),
        movk16(1, text),
        movz(2, len),
        movk16(2, len),
        movz(0, 1),  //           again: standard output
        movz(8, 64), //          write(2)
        SVC,
        0xf100_001f,       //          cmp x0, 0
        branch_if(LE, 6),  //     to failed
        0x8b00_0021,       //          add x1, x1, x0
        0xeb00_0042,       //          subs x2, x2, x0
        branch_if(NE, -7), //    to again
        movz(0, 0),
        0x1400_0002, //          b end
        movz(0, 1),  //           failed
        movz(8, 93), //          end: exit(2)
        SVC,
    ];
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::process::{Command, Stdio};

    fn u16_at(file: &[u8], at: usize) -> u16 {
        u16::from_le_bytes(file[at..at + 2].try_into().unwrap())
    }

    fn u32_at(file: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
    }

    fn u64_at(file: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
    }

    /// Writes the program through a child process: a file that this (many-threaded) process holds open for
    /// writing could be inherited by another test's child and execve(2) would answer ETXTBSY.
    fn program(dir: &std::path::Path, bytes: &[u8]) -> std::path::PathBuf {
        let (staged, path) = (dir.join("staged"), dir.join("hello"));
        std::fs::write(&staged, bytes).unwrap();
        assert!(Command::new("cp").args([&staged, &path]).status().unwrap().success());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn it_runs_prints_the_text_and_exits_with_0() {
        let Some(machine) = Machine::of_host() else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let text = "Hello, wörld\n".repeat(20_000); // 280 kB: more than a pipe holds, so write(2) loops
        let output = Command::new(program(dir.path(), &hello(machine, text.as_bytes()))).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stdout == text.as_bytes());
        assert!(output.stderr.is_empty());
    }

    #[test]
    fn it_exits_with_1_when_nothing_can_be_written() {
        let Some(machine) = Machine::of_host() else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let full = std::fs::OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open("/dev/full").unwrap();
        let path = program(dir.path(), &hello(machine, b"Hello\n"));
        let status = Command::new(path).stdout(Stdio::from(full)).status().unwrap();
        assert_eq!(status.code(), Some(1));
    }

    #[test]
    fn its_headers_say_static_executable_without_dynamic_section_or_interpreter() {
        for (machine, number) in [(Machine::X86_64, 62), (Machine::Aarch64, 183)] {
            let file = hello(machine, b"Hello\n");
            assert_eq!(&file[..7], b"\x7fELF\x02\x01\x01");
            assert_eq!((u16_at(&file, 16), u16_at(&file, 18)), (2, number));
            assert_eq!(u64_at(&file, 40), 0, "no section headers");
            assert_eq!((u16_at(&file, 54), u16_at(&file, 56)), (56, 2));
            let kinds = [u32_at(&file, 64), u32_at(&file, 64 + 56)];
            assert_eq!(kinds, [PT_LOAD, PT_GNU_STACK], "neither PT_DYNAMIC (2) nor PT_INTERP (3)");
            assert_eq!(u32_at(&file, 64 + 4), PF_R | PF_X, "never writable and executable at once");
            assert_eq!(u64_at(&file, 64 + 32), file.len() as u64);
            assert_eq!(u64_at(&file, 24), BASE + 176, "the entry is the first instruction");
            assert!(file.ends_with(b"Hello\n"));
        }
    }

    #[test]
    fn the_jumps_land_on_instructions() {
        let c = code_x86_64(0, 0);
        assert_eq!(c[25..27], [0x7e, 12]);
        assert_eq!(c[27 + 12..][..2], [0xbf, 1], "jle lands on `failed`");
        assert_eq!(c[33..35], [0x75, 0xec]);
        assert_eq!(c[35 - 20..][..2], [0xb8, 1], "jnz lands on `again`");
        assert_eq!(c[37..39], [0xeb, 5]);
        assert_eq!(c[39 + 5..][..2], [0xb8, 60], "jmp lands on `end`");
    }
}
