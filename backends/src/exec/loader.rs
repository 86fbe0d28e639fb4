//! Objects of a back end, linked into this process: how compiled kernels are tested and timed without files.
//!
//! All sections go into one mapping, written, relocated, then made executable. Calls of `memcpy`, `memmove` and
//! `memset` jump through a stub to this process's own; nothing else may be undefined.

use super::CompiledKernel;
use crate::{Backend, internal};
use ir::diag::Class;
use ir::target::Target;
use ir::{Diagnostic, Diagnostics, Kernel};
use memmap2::MmapMut;
use object::read::{Object, ObjectSection, ObjectSymbol, SectionIndex, SymbolIndex};
use object::{RelocationKind, RelocationTarget, SectionKind};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

/// `jmp *[rip]` and the address.
const STUB_LEN: usize = 16;

unsafe extern "C" {
    fn memcpy(to: *mut c_void, from: *const c_void, n: usize) -> *mut c_void;
    fn memmove(to: *mut c_void, from: *const c_void, n: usize) -> *mut c_void;
    fn memset(to: *mut c_void, byte: c_int, n: usize) -> *mut c_void;
}

/// Whether code for `target` runs on this machine.
pub fn runs_here(target: &Target) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let v2 = is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("popcnt");
        let v3 = || {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("movbe")
        };
        let v4 = || {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512cd")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
        };
        match target.name {
            "x86-64-v2" => v2,
            "x86-64-v3" => v2 && v3(),
            "x86-64-v4" => v2 && v3() && v4(),
            _ => false,
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = target;
        false
    }
}

/// Compiles `kernels` by `backend` for `target` and loads the objects.
///
/// Errors: those of the kernel verifier and of the back end; E0706 if this machine lacks the target's instructions.
pub fn load(
    backend: &dyn Backend,
    kernels: &[Kernel],
    target: &Target,
) -> Result<Vec<Arc<CompiledKernel>>, Diagnostics> {
    if !runs_here(target) {
        return Err(Diagnostic::error("E0706", format!("this machine does not run {} code", target.name))
            .class(Class::Unsupported)
            .help("--target native is the best that it runs")
            .into());
    }
    for k in kernels {
        k.verify().into_result(())?;
    }
    let objects = backend.compile(kernels, "k", target)?;
    let (map, symbols) = link(&objects).map_err(|e| internal("E0706", format!("object of {}: {e}", backend.name())))?;
    let map = Arc::new(map);
    kernels
        .iter()
        .map(|k| {
            let name = format!("k_{}", k.name);
            let at = symbols.get(&name).ok_or_else(|| internal("E0706", format!("no object defines `{name}`")))?;
            // SAFETY: the kernel is verified, and the back end names its code so.
            Ok(Arc::new(unsafe { CompiledKernel::new(k.clone(), map.clone(), *at) }))
        })
        .collect()
}

/// Places and relocates the objects; returns the code and the offset of every global symbol in it.
fn link(objects: &[Vec<u8>]) -> Result<(memmap2::Mmap, HashMap<String, usize>), String> {
    let files = objects
        .iter()
        .map(|o| object::File::parse(&**o).map_err(|e| e.to_string()))
        .collect::<Result<Vec<_>, String>>()?;

    let mut end = 0usize;
    let mut sections: HashMap<(usize, SectionIndex), usize> = HashMap::new();
    for (f, file) in files.iter().enumerate() {
        for s in file.sections().filter(|s| is_loaded(s.kind())) {
            end = end.next_multiple_of((s.align() as usize).max(1));
            sections.insert((f, s.index()), end);
            end += s.size() as usize;
        }
    }
    let mut globals: HashMap<String, usize> = HashMap::new();
    let mut stubs: HashMap<String, usize> = HashMap::new();
    for (f, file) in files.iter().enumerate() {
        for s in file.symbols().filter(|s| s.is_global() && s.is_definition()) {
            let Some(at) = s.section_index().and_then(|i| sections.get(&(f, i))) else { continue };
            globals.insert(s.name().map_err(|e| e.to_string())?.to_string(), at + s.address() as usize);
        }
    }
    for s in files.iter().flat_map(|f| f.symbols()).filter(|s| s.is_undefined() && s.is_global()) {
        let name = s.name().map_err(|e| e.to_string())?;
        if !globals.contains_key(name) && !stubs.contains_key(name) {
            end = end.next_multiple_of(STUB_LEN);
            stubs.insert(name.to_string(), end);
            end += STUB_LEN;
        }
    }

    let mut map = MmapMut::map_anon(end.max(1)).map_err(|e| e.to_string())?;
    let base = map.as_ptr().addr();
    for (name, &at) in &stubs {
        let address = match name.as_str() {
            "memcpy" => memcpy as *const () as usize,
            "memmove" => memmove as *const () as usize,
            "memset" => memset as *const () as usize,
            _ => return Err(format!("`{name}` is undefined")),
        };
        map[at..at + 6].copy_from_slice(&[0xff, 0x25, 0, 0, 0, 0]);
        map[at + 6..at + 14].copy_from_slice(&(address as u64).to_le_bytes());
    }
    for (f, file) in files.iter().enumerate() {
        for s in file.sections() {
            let Some(&at) = sections.get(&(f, s.index())) else { continue };
            let data = s.data().map_err(|e| e.to_string())?;
            map[at..at + data.len()].copy_from_slice(data); // a .bss has no data and stays zero
            for (offset, r) in s.relocations() {
                let target = match r.target() {
                    RelocationTarget::Symbol(i) => resolve(file, f, i, &sections, &globals, &stubs)?,
                    RelocationTarget::Section(i) => *sections.get(&(f, i)).ok_or("relocation to no section")?,
                    _ => return Err("relocation to nothing".into()),
                };
                let place = at + offset as usize;
                let value = match r.kind() {
                    RelocationKind::Absolute => (base + target) as i64 + r.addend(),
                    RelocationKind::Relative | RelocationKind::PltRelative => target as i64 + r.addend() - place as i64,
                    kind => return Err(format!("relocation {kind:?} {:?} is not handled", r.flags())),
                };
                let len = usize::from(r.size() / 8);
                if len == 4 && i32::try_from(value).is_err() {
                    return Err("relocation does not fit 32 bits".into());
                }
                map[place..place + len].copy_from_slice(&value.to_le_bytes()[..len]);
            }
        }
    }
    let map = map.make_exec().map_err(|e| e.to_string())?;
    Ok((map, globals))
}

fn is_loaded(kind: SectionKind) -> bool {
    matches!(
        kind,
        SectionKind::Text
            | SectionKind::Data
            | SectionKind::ReadOnlyData
            | SectionKind::ReadOnlyDataWithRel
            | SectionKind::ReadOnlyString
            | SectionKind::UninitializedData
    )
}

fn resolve(
    file: &object::File,
    f: usize,
    index: SymbolIndex,
    sections: &HashMap<(usize, SectionIndex), usize>,
    globals: &HashMap<String, usize>,
    stubs: &HashMap<String, usize>,
) -> Result<usize, String> {
    let symbol = file.symbol_by_index(index).map_err(|e| e.to_string())?;
    if let Some(at) = symbol.section_index().and_then(|i| sections.get(&(f, i))) {
        return Ok(at + symbol.address() as usize);
    }
    let name = symbol.name().map_err(|e| e.to_string())?;
    globals.get(name).or_else(|| stubs.get(name)).copied().ok_or_else(|| format!("`{name}` is undefined"))
}
