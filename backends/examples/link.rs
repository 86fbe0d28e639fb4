//! How long linking takes with so many MiB of weights, and what it costs in memory:
//! `cargo run --release -p rescc-backends --example link -- 100`

use backends::link::{Input, Linker, Stage};
use backends::object::{Piece, write_weights};
use object::write::{Object, Relocation, StandardSection, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SymbolFlags, SymbolKind, SymbolScope, elf};
use std::borrow::Cow;
use std::time::Instant;

/// A program that exits with the first byte of the weights.
fn start() -> object::write::Result<Vec<u8>> {
    let mut o = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let text = o.section_id(StandardSection::Text);
    let mut symbol = |name: &str, kind, section| {
        let scope = SymbolScope::Linkage;
        let name = name.as_bytes().to_vec();
        o.add_symbol(Symbol { name, value: 0, size: 0, kind, scope, weak: false, section, flags: SymbolFlags::None })
    };
    let start = symbol("_start", SymbolKind::Text, SymbolSection::None);
    let weights = symbol("m_weights", SymbolKind::Data, SymbolSection::Undefined);
    // movzx edi, byte [rip + m_weights]; mov eax, 60; syscall
    o.add_symbol_data(start, text, &[0x0f, 0xb6, 0x3d, 0, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05], 16);
    let flags = RelocationFlags::Elf { r_type: elf::R_X86_64_PC32 };
    o.add_relocation(text, Relocation { offset: 3, symbol: weights, addend: -4, flags })?;
    o.write()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mib: u64 = std::env::args().nth(1).map_or(Ok(100), |a| a.parse())?;
    let start = start()?;
    let weights: Vec<u8> = (0..mib << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let directory = tempfile::tempdir()?;
    for linker in [Linker::Wild, Linker::Lld, Linker::Cc] {
        for _ in 0..3 {
            let output = directory.path().join("program");
            let pieces = vec![Piece { offset: 0, bytes: Cow::Borrowed(&weights[..]) }];
            let inputs = vec![
                Input::bytes("start.o", &start),
                Input::writer("weights.o", |file| write_weights("m", weights.len() as u64, pieces, file)),
            ];
            let begin = Instant::now();
            Stage::new(inputs, tempfile::tempdir()?, &output).and_then(|s| s.executable(linker))?;
            let time = begin.elapsed().as_secs_f64() * 1e3;
            println!("{linker:?}: {mib} MiB of weights in {time:.0} ms, {} bytes", output.metadata()?.len());
        }
    }
    Ok(())
}
