//! Numbers as people read them.

/// Three significant digits, `1.23e-4` outside 0.001 .. 10000; `-` for nothing.
pub(crate) fn short(x: Option<f64>) -> String {
    match x {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(x) if !x.is_finite() => format!("{x}"),
        Some(x) if x.abs() >= 0.001 && x.abs() < 10_000.0 => {
            let digits = (2 - x.abs().log10().floor() as i32).max(0) as usize;
            format!("{x:.digits$}")
        }
        Some(x) => format!("{x:.2e}"),
    }
}

/// A relative quantity in percent with three significant digits; tiny ones in scientific notation.
pub(crate) fn percent(x: Option<f64>) -> String {
    match x {
        Some(x) if x.is_finite() && x != 0.0 && x < 1e-6 => format!("{x:.2e}"),
        Some(x) if x.is_finite() => format!("{} %", short(Some(100.0 * x))),
        other => short(other),
    }
}

/// Bytes in binary units.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut x, mut unit) = (n as f64, 0);
    while x >= 1024.0 && unit + 1 < UNITS.len() {
        (x, unit) = (x / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{n} B") } else { format!("{x:.1} {}", UNITS[unit]) }
}

/// Digits in groups of three.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let first = digits.len() % 3;
    let mut out = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(group.iter().map(|b| *b as char));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_at_every_size() {
        let shown: Vec<String> = [12345.6, 123.4, 1.0, 0.012345, 0.000123].map(|x| short(Some(x))).to_vec();
        assert_eq!(shown, ["1.23e4", "123", "1.00", "0.0123", "1.23e-4"]);
        assert_eq!((percent(Some(0.0123)), percent(Some(3e-8))), ("1.23 %".to_owned(), "3.00e-8".to_owned()));
        assert_eq!(
            (percent(None), percent(Some(0.0)), short(Some(f64::NAN))),
            ("-".into(), "0 %".into(), "NaN".into())
        );
    }

    #[test]
    fn counts_and_bytes() {
        assert_eq!([0, 999, 1000, 1234567].map(count), ["0", "999", "1 000", "1 234 567"]);
        assert_eq!([0, 1023, 1024, 4_378_080].map(bytes), ["0 B", "1023 B", "1.0 KiB", "4.2 MiB"]);
    }
}
