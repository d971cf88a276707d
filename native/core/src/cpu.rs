//! Decides once which instructions the hot paths use.
//!
//! Every path above `Scalar` has a scalar twin with the same results. The environment variable
//! `PIECEWORK_CPU` (`scalar`, `avx2` or `avx512`) forces a lower level than the processor has, for
//! tests and comparisons; it never raises one.

use std::sync::OnceLock;

/// What the processor offers to the hot paths, in rising order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// No vector instructions beyond what the dependencies choose for themselves.
    Scalar,
    /// AVX2.
    Avx2,
    /// AVX2 and of AVX-512 F, BW, DQ, VL, IFMA: Ice Lake, Zen 4 and later.
    Avx512,
}

impl Level {
    /// The level with this name, as the environment writes it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Level> {
        match name {
            "scalar" => Some(Level::Scalar),
            "avx2" => Some(Level::Avx2),
            "avx512" => Some(Level::Avx512),
            _ => None,
        }
    }

    /// The name of the level.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

/// What the processor has, whatever the environment says.
#[must_use]
pub fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx2") {
            let wide = std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512vl")
                && std::is_x86_feature_detected!("avx512ifma");
            return if wide { Level::Avx512 } else { Level::Avx2 };
        }
    }
    Level::Scalar
}

/// The level in force: `detected`, or less if the environment asks for less. Decided on first use.
///
/// # Panics
/// When `PIECEWORK_CPU` names no level.
#[must_use]
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| match std::env::var_os("PIECEWORK_CPU") {
        None => detected(),
        Some(name) => name
            .to_str()
            .and_then(Level::from_name)
            .map(|asked| asked.min(detected()))
            .unwrap_or_else(|| panic!("PIECEWORK_CPU is {name:?}, not scalar, avx2 or avx512")),
    })
}

/// Whether the processor has the SHA instructions of x86-64 and AVX. Hashing uses them above `Scalar`.
#[must_use]
pub fn has_sha() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("sha") && std::is_x86_feature_detected!("avx");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_order() {
        for level in [Level::Scalar, Level::Avx2, Level::Avx512] {
            assert_eq!(Level::from_name(level.name()), Some(level));
        }
        assert_eq!(Level::from_name("AVX2"), None);
        assert!(Level::Scalar < Level::Avx2 && Level::Avx2 < Level::Avx512);
        assert!(level() <= detected());
    }
}
