//! Rounds of measurements, and what they say together.

/// What was measured, a figure per round.
#[derive(Default)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The first quartile, the median and the third quartile.
    fn quartiles(&self) -> [f64; 3] {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
    }
}

/// Prints medians with quartiles, and the median and quartiles of the ratios of rounds that followed each other.
pub(crate) fn report(name: &str, ours: &Rounds, other: &str, theirs: &Rounds) {
    let pairs = ours.0.iter().zip(&theirs.0);
    let ratios = Rounds(pairs.map(|(ours, theirs)| ours / theirs).collect());
    let [low, ratio, high] = ratios.quartiles();
    println!(
        "{name:36} {}   {other:22} {}   ratio {ratio:.2} ({low:.2}-{high:.2})",
        show(ours),
        show(theirs)
    );
}

fn show(rounds: &Rounds) -> String {
    let [low, median, high] = rounds.quartiles();
    format!("{median:>7.0} ({low:.0}-{high:.0})")
}
