//! Weights as adjacent stretches of a line, so that a random point falls to each in proportion.

/// Keeps prefix sums of weights under insertion, change and removal in O(log n) (Fenwick, 1994).
#[derive(Debug, Default)]
pub(super) struct Shares {
    weights: Vec<u64>,
    /// `sums[i - 1]` is the sum of the `i & i.wrapping_neg()` weights that end with the `i`-th.
    sums: Vec<u64>,
    total: u64,
}

impl Shares {
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn push(&mut self, weight: u64) {
        let end = self.weights.len() + 1;
        let covered = self.prefix(end - 1) - self.prefix(end - lowest_bit(end));
        self.weights.push(weight);
        self.sums.push(covered + weight);
        self.total += weight;
    }

    /// Removes one weight and moves the last one into its place.
    pub(super) fn swap_remove(&mut self, position: usize) {
        let Some(last) = self.weights.pop() else {
            return;
        };
        // No sum but its own covers the last weight.
        self.sums.pop();
        self.total -= last;
        if position < self.weights.len() {
            self.set(position, last);
        }
    }

    pub(super) fn set(&mut self, position: usize, new: u64) {
        let old = std::mem::replace(&mut self.weights[position], new);
        if old == new {
            return;
        }
        let mut at = position + 1;
        while at <= self.sums.len() {
            self.sums[at - 1] = self.sums[at - 1] + new - old;
            at += lowest_bit(at);
        }
        self.total = self.total + new - old;
    }

    /// Returns whose stretch holds `point`, which must be less than the total.
    pub(super) fn holder(&self, mut point: u64) -> usize {
        let mut position = 0;
        let mut step = self.sums.len().checked_ilog2().map_or(0, |log| 1 << log);
        while step > 0 {
            if let Some(&sum) = self.sums.get(position + step - 1)
                && sum <= point
            {
                point -= sum;
                position += step;
            }
            step >>= 1;
        }
        position
    }

    fn prefix(&self, mut end: usize) -> u64 {
        let mut sum = 0;
        while end > 0 {
            sum += self.sums[end - 1];
            end -= lowest_bit(end);
        }
        sum
    }
}

fn lowest_bit(number: usize) -> usize {
    number & number.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_point_falls_to_the_stretch_that_holds_it(
            steps in prop::collection::vec((0..3u8, 1..9u64, any::<prop::sample::Index>()), 1..60),
        ) {
            let (mut shares, mut model) = (Shares::default(), Vec::new());
            for (kind, weight, index) in steps {
                if kind == 0 || model.is_empty() {
                    shares.push(weight);
                    model.push(weight);
                } else if kind == 1 {
                    let position = index.index(model.len());
                    shares.set(position, weight);
                    model[position] = weight;
                } else {
                    let position = index.index(model.len());
                    shares.swap_remove(position);
                    model.swap_remove(position);
                }
                let holders: Vec<usize> = (0..shares.total()).map(|point| shares.holder(point)).collect();
                let expected: Vec<usize> =
                    model.iter().enumerate().flat_map(|(i, &w)| std::iter::repeat_n(i, w as usize)).collect();
                prop_assert_eq!(holders, expected);
            }
        }
    }
}
