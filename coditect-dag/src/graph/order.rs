//! Topological order, and the cycle that stands in its way.

/// Orders the tasks `0..count` so that each comes after its upstreams, smaller ones first where
/// there is a choice between tasks that became free together.
///
/// `edges` yields pairs of upstream and downstream. Kahn's algorithm (Communications of the ACM
/// 5(11), 1962): linear, and without recursion, however long a chain is.
///
/// # Errors
///
/// The tasks of one cycle, each an upstream of the next and the last one of the first.
pub(crate) fn topological_order<E>(count: usize, edges: E) -> Result<Vec<u32>, Vec<u32>>
where
    E: Iterator<Item = (u32, u32)> + Clone,
{
    let mut waiting = vec![0_u32; count];
    let mut first = vec![0_usize; count + 1];
    for (upstream, downstream) in edges.clone() {
        waiting[downstream as usize] += 1;
        first[upstream as usize + 1] += 1;
    }
    for i in 0..count {
        first[i + 1] += first[i];
    }
    let mut next = first.clone();
    let mut targets = vec![0_u32; first[count]];
    for (upstream, downstream) in edges.clone() {
        targets[next[upstream as usize]] = downstream;
        next[upstream as usize] += 1;
    }

    let mut order = Vec::with_capacity(count);
    order.extend((0..count as u32).filter(|&task| waiting[task as usize] == 0));
    let mut done = 0;
    while let Some(&task) = order.get(done) {
        done += 1;
        for &downstream in &targets[first[task as usize]..first[task as usize + 1]] {
            waiting[downstream as usize] -= 1;
            if waiting[downstream as usize] == 0 {
                order.push(downstream);
            }
        }
    }
    if order.len() == count {
        return Ok(order);
    }
    Err(cycle_among(&waiting, edges))
}

/// Finds a cycle among the tasks that still wait: each of them has an upstream that waits too, so
/// walking upstream must come back to where it has been.
fn cycle_among(waiting: &[u32], edges: impl Iterator<Item = (u32, u32)>) -> Vec<u32> {
    const UNSEEN: u32 = u32::MAX;
    let mut upstream_of = vec![UNSEEN; waiting.len()];
    for (upstream, downstream) in edges {
        if waiting[upstream as usize] > 0 && upstream_of[downstream as usize] == UNSEEN {
            upstream_of[downstream as usize] = upstream;
        }
    }
    let Some(start) = waiting.iter().position(|&count| count > 0) else {
        return Vec::new();
    };
    let mut step_of = vec![UNSEEN; waiting.len()];
    let mut walk = Vec::new();
    let mut task = start as u32;
    while step_of[task as usize] == UNSEEN {
        step_of[task as usize] = walk.len() as u32;
        walk.push(task);
        task = upstream_of[task as usize];
    }
    let mut cycle = walk.split_off(step_of[task as usize] as usize);
    cycle.reverse();
    // Start at the smallest, so that the same graph always gives the same text.
    let smallest = (0..cycle.len()).min_by_key(|&i| cycle[i]).unwrap_or(0);
    cycle.rotate_left(smallest);
    cycle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_come_first() {
        let edges = [(2, 0), (0, 1), (2, 1), (3, 2)];
        assert_eq!(
            topological_order(5, edges.into_iter()),
            Ok(vec![3, 4, 2, 0, 1])
        );
    }

    #[test]
    fn a_cycle_is_told_in_the_direction_of_its_edges() {
        // 0 → 1 → 2 → 3 → 1, and 4 hangs on the cycle without being on it.
        let edges = [(0, 1), (1, 2), (2, 3), (3, 1), (3, 4)];
        assert_eq!(topological_order(5, edges.into_iter()), Err(vec![1, 2, 3]));
    }

    #[test]
    fn a_task_may_not_wait_for_itself() {
        assert_eq!(topological_order(1, [(0, 0)].into_iter()), Err(vec![0]));
    }

    #[test]
    fn a_chain_of_a_million_does_not_overflow_the_stack() {
        let chain = (0..999_999).map(|i| (i, i + 1));
        assert_eq!(
            topological_order(1_000_000, chain).unwrap().len(),
            1_000_000
        );
    }

    #[test]
    fn a_cycle_of_a_million_is_found_too() {
        let ring = (0..1_000_000).map(|i| (i, (i + 1) % 1_000_000));
        assert_eq!(
            topological_order(1_000_000, ring).unwrap_err().len(),
            1_000_000
        );
    }
}
