//! Numbers out of numbers.

/// The value below which `share` (0 to 1) of `values` lie: the nearest rank, so always one that was measured.
/// NaN of nothing.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return f64::NAN;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is small and not negative")]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The middle one; of an even number the mean of the two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Nanoseconds as milliseconds.
pub fn ms(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Three digits that mean something: `0.446`, `15.9`, `1010`.
pub fn short(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".into(),
        // A count, such as 20 kills, has no fraction to show.
        v if v.fract() == 0.0 => format!("{value:.0}"),
        v if v < 0.001 => format!("{value:.5}"),
        v if v < 1.0 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5).to_bits(), 50_f64.to_bits());
        assert_eq!(percentile(&values, 0.99).to_bits(), 99_f64.to_bits());
        assert_eq!(percentile(&[3.0], 0.99).to_bits(), 3_f64.to_bits());
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn figures_keep_three_digits() {
        let texts: Vec<String> = [0.4462, 15.94, 1010.4, 0.0, f64::NAN, 1.254, 20.0].into_iter().map(short).collect();
        assert_eq!(texts, ["0.446", "15.9", "1010", "0", "-", "1.25", "20"]);
    }
}
