//! What the system says about this machine: the processor's name and features, caches, load.

use passes::cost;
use std::fs;

/// Features of x86-64 that decide how fast vector code is.
const FEATURES: [&str; 12] = [
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
    "avx_vnni",
    "hypervisor",
];

/// Caches as data sheets count them, for machines that do not say.
const USUAL: Caches = Caches { l1_bytes: 32 << 10, l2_bytes: 512 << 10, l3_bytes: 16 << 20 };

/// Data caches: of one core, of one core, shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    pub l1_bytes: u64,
    pub l2_bytes: u64,
    pub l3_bytes: u64,
}

/// The processor's name, or "unknown".
pub fn name() -> String {
    info("model name").unwrap_or_else(|| "unknown".into())
}

/// The table of the estimate ([`passes::cost::Machine::named`]) that is nearest to it.
pub fn microarchitecture() -> String {
    let number = |key| info(key).and_then(|v| v.parse::<u32>().ok()).unwrap_or(0);
    let vendor = info("vendor_id").unwrap_or_default();
    let is_wide = features().iter().any(|f| f == "avx512f");
    nearest(&vendor, number("cpu family"), number("model"), is_wide).name.into()
}

/// Family 17h up to model 2Fh is Zen and Zen+, with pipes of 128 bits (AMD, "Processor programming reference"). Intel's
/// cores with AVX-512 are told by that: hypervisors give them model numbers of others.
fn nearest(vendor: &str, family: u32, model: u32, has_avx512: bool) -> cost::Machine {
    match (vendor, family) {
        ("AuthenticAMD", 0x17) if model < 0x30 => cost::ZEN1,
        ("GenuineIntel", _) if has_avx512 => cost::SAPPHIRE_RAPIDS,
        _ => cost::ZEN3,
    }
}

/// Vector features that it has, as the system spells them.
pub fn features() -> Vec<String> {
    let flags = info("flags").unwrap_or_default();
    let has = |f: &&&str| flags.split_whitespace().any(|g| g == **f);
    FEATURES.iter().filter(has).map(|f| f.to_string()).collect()
}

/// Processes that wanted a CPU in the last minute.
pub fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// How the clock is chosen, where the system tells.
pub fn governor() -> Option<String> {
    let text = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok()?;
    Some(text.trim().to_string())
}

pub fn caches() -> Caches {
    let mut c = USUAL;
    for i in 0..8 {
        let read = |what: &str| fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{i}/{what}")).ok();
        let (Some(level), Some(kind), Some(bytes)) =
            (read("level"), read("type"), read("size").and_then(|s| size(s.trim())))
        else {
            continue;
        };
        match (level.trim(), kind.trim()) {
            ("1", "Data") => c.l1_bytes = bytes,
            ("2", _) => c.l2_bytes = bytes,
            ("3", _) => c.l3_bytes = bytes,
            _ => {}
        }
    }
    c
}

/// `32K`, `8M`.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_shl(shift)
}

fn info(key: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == key))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!([size("32K"), size("8M"), size("512"), size("x")], [Some(32768), Some(8 << 20), Some(512), None]);
    }

    #[test]
    fn machines_are_told_apart_by_family_and_model() {
        let name = |vendor, family, model| nearest(vendor, family, model, false).name;
        assert_eq!([name("AuthenticAMD", 0x17, 1), name("AuthenticAMD", 0x17, 0x31)], ["zen1", "zen3"]);
        assert_eq!([name("AuthenticAMD", 0x19, 1), name("GenuineIntel", 6, 85)], ["zen3", "zen3"]);
        assert_eq!(nearest("GenuineIntel", 6, 143, true).name, "sapphire-rapids");
    }
}
