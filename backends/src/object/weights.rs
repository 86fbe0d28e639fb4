//! The weights as an ELF object, streamed piece by piece.
//!
//! Written with the low-level writer of `object`, because the section is longer than any one buffer that holds a
//! part of it.

use object::Endianness;
use object::elf;
use object::write::elf::{FileHeader, SectionHeader, Sym, Writer};
use object::write::{StreamingBuffer, WritableBuffer};
use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

/// Alignment of the section; every tensor's offset is a multiple of it.
const ALIGN: u64 = 64;

/// Some bytes of the weights section.
pub struct Piece<'a> {
    pub offset: u64,
    pub bytes: Cow<'a, [u8]>,
}

/// Writes the weights object: `len` bytes as hidden symbol `{prefix}_weights` in section `.rodata.rescc_weights`.
///
/// `pieces` are sorted by offset and do not overlap; what lies between them is zero. Each is freed when written.
pub fn write_weights(prefix: &str, len: u64, pieces: Vec<Piece>, out: impl Write) -> io::Result<()> {
    let mut end = 0;
    for p in &pieces {
        if p.offset < end {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "weights overlap or are out of order"));
        }
        end = p.offset + p.bytes.len() as u64;
    }
    if end > len {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "weights reach past the end of their section"));
    }
    let mut buffer = StreamingBuffer::new(BufWriter::with_capacity(1 << 20, out));
    emit(prefix, len, pieces, &mut buffer).map_err(io::Error::other)?;
    buffer.result()?;
    buffer.into_inner().flush()
}

fn emit(prefix: &str, len: u64, pieces: Vec<Piece>, buffer: &mut dyn WritableBuffer) -> object::write::Result<()> {
    let name = format!("{prefix}_weights");
    let mut w = Writer::new(Endianness::Little, true, buffer);
    w.reserve_file_header();
    let section_name = w.add_section_name(b".rodata.rescc_weights");
    let section = w.reserve_section_index();
    let stack_name = w.add_section_name(b".note.GNU-stack"); // says: no executable stack
    w.reserve_section_index();
    w.reserve_symtab_section_index();
    w.reserve_strtab_section_index();
    w.reserve_shstrtab_section_index();
    let symbol_name = w.add_string(name.as_bytes());
    w.reserve_symbol_index(Some(section));
    let data_at = w.reserve(len, ALIGN);
    w.reserve_symtab();
    w.reserve_strtab()?;
    w.reserve_shstrtab()?;
    w.reserve_section_headers();

    w.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_REL,
        e_machine: elf::EM_X86_64,
        e_entry: 0,
        e_flags: elf::FileFlags(0),
    })?;
    w.write_align(ALIGN);
    for p in pieces {
        w.pad_until(data_at + p.offset);
        w.write(&p.bytes);
    }
    w.pad_until(data_at + len);
    w.write_null_symbol();
    w.write_symbol(&Sym {
        st_name: w.string_offset(Some(symbol_name)),
        section: Some(section.0),
        st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_OBJECT),
        st_other: elf::STV_HIDDEN.into(),
        st_shndx: elf::SymbolSection(0),
        st_value: 0,
        st_size: len,
    });
    w.write_strtab();
    w.write_shstrtab();
    w.write_null_section_header();
    w.write_section_header(&SectionHeader {
        sh_name: w.section_name_offset(Some(section_name)),
        sh_type: elf::SHT_PROGBITS,
        sh_flags: elf::SHF_ALLOC,
        sh_addr: 0,
        sh_offset: data_at,
        sh_size: len,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: ALIGN,
        sh_entsize: 0,
    });
    w.write_section_header(&SectionHeader {
        sh_name: w.section_name_offset(Some(stack_name)),
        sh_type: elf::SHT_PROGBITS,
        sh_flags: elf::SectionFlags(0),
        sh_addr: 0,
        sh_offset: data_at,
        sh_size: 0,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 1,
        sh_entsize: 0,
    });
    w.write_symtab_section_header(1);
    w.write_strtab_section_header();
    w.write_shstrtab_section_header();
    debug_assert_eq!(w.reserved_len(), w.len());
    Ok(())
}
