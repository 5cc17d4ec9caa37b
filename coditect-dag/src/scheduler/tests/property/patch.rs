//! Random patches, of which enough fit.

use super::*;

/// Changes a graph of the run in a way that fits more often than not.
pub(super) fn random(
    scheduler: &Scheduler<u8>,
    shapes: &[Shape],
    (what, which, how): Step,
) -> Patch<u8> {
    let len = scheduler.len() as u32;
    let tasks = || (0..len).map(TaskId::new);
    let expanded: Vec<_> = tasks()
        .filter(|task| scheduler.is_expanded(*task))
        .collect();
    let scope = expanded.get(which as usize % (expanded.len() + 1)).copied();
    let own = |task: &TaskId| scheduler.parent(*task) == scope;
    let mut patch = Patch::new(scope);
    let added = shapes
        .iter()
        .cycle()
        .skip(which as usize % 7)
        .map(|(_, spec)| *spec);
    patch.added = added.take(how as usize % 3).collect();
    let mut random = u32::from(which).wrapping_mul(2_654_435_761) ^ u32::from(how);
    let mut pick = |from: &[TaskId]| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = (random >> 16) as usize % from.len().max(1);
        from.get(at).copied().unwrap_or(TaskId::new(0))
    };
    let there: Vec<_> = tasks().filter(own).collect();
    let fresh: Vec<_> = there
        .iter()
        .copied()
        .filter(|it| scheduler.may_change(*it))
        .collect();
    let new = (len..len + patch.added.len() as u32).map(TaskId::new);
    let (from, to) = (
        there.iter().copied().chain(new.clone()).collect::<Vec<_>>(),
        fresh.iter().copied().chain(new).collect::<Vec<_>>(),
    );
    for _ in 0..how % 4 {
        let (upstream, task) = (pick(&from), pick(&to));
        // The other way leads to cycles.
        if upstream < task || how % 16 == 0 {
            patch.connected.push((upstream, task));
        }
    }
    let waits_for = |task: TaskId| {
        let rows = tasks().filter(move |it| {
            let row = scheduler.tasks[it.index()].row();
            scheduler.targets[row].contains(&task.get())
        });
        rows.collect::<Vec<_>>()
    };
    if what % 3 == 0 && !fresh.is_empty() {
        // Taken out, with all that hangs together with it.
        let task = pick(&fresh);
        patch.removed.push(task);
        patch
            .disconnected
            .extend(waits_for(task).into_iter().map(|upstream| (upstream, task)));
        let row = scheduler.tasks[task.index()].row();
        let row = scheduler.targets[row].iter();
        patch
            .disconnected
            .extend(row.map(|it| (task, TaskId::new(*it))));
    } else if let Some(upstream) = waits_for(pick(&fresh)).first().copied() {
        let row = scheduler.tasks[upstream.index()].row();
        let row = scheduler.targets[row].iter().map(|it| TaskId::new(*it));
        patch
            .disconnected
            .push((upstream, pick(&row.collect::<Vec<_>>())));
    }
    if how > 128 && !fresh.is_empty() {
        let (_, spec) = shapes[which as usize % shapes.len()];
        patch.changed.push((pick(&fresh), spec));
    }
    patch
}
