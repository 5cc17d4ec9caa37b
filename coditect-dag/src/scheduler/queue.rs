//! The queues of ready tasks: one for each class, in it a bucket for each priority.

use rustc_hash::FxHashMap;

use super::spec::Class;
use super::table::{NONE, Record};

/// Where ready tasks wait.
///
/// A bucket is a doubly linked list through the records of its tasks, so that a task leaves from
/// any place in constant time and nothing is allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadyQueues<P> {
    classes: Vec<ClassQueue>,
    by_class: FxHashMap<Class, u32>,
    buckets: Vec<Bucket<P>>,
    /// The classes in which tasks wait, in no order that means anything.
    occupied: Vec<Class>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ClassQueue {
    class: Class,
    len: u32,
    /// The buckets of the class, the smallest priority first.
    order: Vec<u32>,
    /// All buckets before this position in `order` are empty.
    front: u32,
    /// The position of the class in `occupied`, or [`NONE`].
    place: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Bucket<P> {
    priority: P,
    class: u32,
    /// The position of the bucket in the order of its class.
    position: u32,
    head: u32,
    tail: u32,
}

impl<P: Ord + Copy> ReadyQueues<P> {
    pub(super) fn new() -> Self {
        Self {
            classes: Vec::new(),
            by_class: FxHashMap::default(),
            buckets: Vec::new(),
            occupied: Vec::new(),
        }
    }

    /// Finds or makes the bucket for a class and a priority.
    pub(super) fn bucket(&mut self, class: Class, priority: P) -> u32 {
        let number = *self.by_class.entry(class).or_insert_with(|| {
            self.classes.push(ClassQueue {
                class,
                len: 0,
                order: Vec::new(),
                front: 0,
                place: NONE,
            });
            self.classes.len() as u32 - 1
        });
        let queue = &mut self.classes[number as usize];
        let found = queue
            .order
            .binary_search_by(|&bucket| self.buckets[bucket as usize].priority.cmp(&priority));
        let position = match found {
            Ok(position) => return queue.order[position],
            Err(position) => position,
        };
        let bucket = self.buckets.len() as u32;
        queue.order.insert(position, bucket);
        if position <= queue.front as usize {
            queue.front += 1;
        }
        for &behind in &queue.order[position + 1..] {
            self.buckets[behind as usize].position += 1;
        }
        self.buckets.push(Bucket {
            priority,
            class: number,
            position: position as u32,
            head: NONE,
            tail: NONE,
        });
        bucket
    }

    /// Puts a task at the end of a bucket.
    pub(super) fn push(&mut self, tasks: &mut [Record], bucket: u32, task: u32) {
        let bucket = &mut self.buckets[bucket as usize];
        let record = &mut tasks[task as usize];
        record.previous = bucket.tail;
        record.next = NONE;
        if bucket.tail == NONE {
            bucket.head = task;
        } else {
            tasks[bucket.tail as usize].next = task;
        }
        bucket.tail = task;

        let queue = &mut self.classes[bucket.class as usize];
        queue.front = queue.front.min(bucket.position);
        queue.len += 1;
        if queue.len == 1 {
            queue.place = self.occupied.len() as u32;
            self.occupied.push(queue.class);
        }
    }

    /// Takes a task out of its bucket, wherever it stands there.
    pub(super) fn remove(&mut self, tasks: &mut [Record], bucket: u32, task: u32) {
        let bucket = &mut self.buckets[bucket as usize];
        let Record { previous, next, .. } = tasks[task as usize];
        if previous == NONE {
            bucket.head = next;
        } else {
            tasks[previous as usize].next = next;
        }
        if next == NONE {
            bucket.tail = previous;
        } else {
            tasks[next as usize].previous = previous;
        }
        // A record outside of any queue is the same wherever it stood.
        tasks[task as usize].previous = NONE;
        tasks[task as usize].next = NONE;

        let class = bucket.class;
        let queue = &mut self.classes[class as usize];
        queue.len -= 1;
        while let Some(&bucket) = queue.order.get(queue.front as usize)
            && self.buckets[bucket as usize].head == NONE
        {
            queue.front += 1;
        }
        if queue.len == 0 {
            let place = std::mem::replace(&mut queue.place, NONE);
            self.occupied.swap_remove(place as usize);
            if let Some(&moved) = self.occupied.get(place as usize) {
                let moved = self.by_class[&moved];
                self.classes[moved as usize].place = place;
            }
        }
    }

    pub(super) fn len(&self, class: Class) -> usize {
        self.queue(class).map_or(0, |queue| queue.len as usize)
    }

    pub(super) fn peek(&self, class: Class) -> Option<(u32, P)> {
        let queue = self.queue(class)?;
        let bucket = &self.buckets[*queue.order.get(queue.front as usize)? as usize];
        (bucket.head != NONE).then_some((bucket.head, bucket.priority))
    }

    pub(super) fn occupied(&self) -> &[Class] {
        &self.occupied
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let orders: usize = self
            .classes
            .iter()
            .map(|queue| queue.order.capacity())
            .sum();
        self.classes.capacity() * size_of::<ClassQueue>()
            + self.by_class.capacity() * size_of::<(Class, u32)>()
            + self.buckets.capacity() * size_of::<Bucket<P>>()
            + self.occupied.capacity() * size_of::<Class>()
            + orders * size_of::<u32>()
    }

    fn queue(&self, class: Class) -> Option<&ClassQueue> {
        let number = *self.by_class.get(&class)?;
        self.classes.get(number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queues: &mut ReadyQueues<u8>, tasks: &mut [Record], buckets: &[u32]) -> Vec<u32> {
        let mut out = Vec::new();
        while let Some((task, _)) = queues.peek(Class(0)) {
            queues.remove(tasks, buckets[task as usize], task);
            out.push(task);
        }
        out
    }

    #[test]
    fn smaller_priorities_go_first_and_equal_ones_in_order() {
        let mut tasks = vec![Record::new(0, 0); 6];
        let mut queues = ReadyQueues::new();
        let buckets = [5, 1, 5, 3, 1, 3].map(|priority| queues.bucket(Class(0), priority));
        for task in 0..6 {
            queues.push(&mut tasks, buckets[task as usize], task);
        }
        assert_eq!(queues.peek(Class(0)), Some((1, 1)));
        assert_eq!(queues.len(Class(0)), 6);
        assert_eq!(drain(&mut queues, &mut tasks, &buckets), [1, 4, 3, 5, 0, 2]);
        assert_eq!(queues.len(Class(0)), 0);
    }

    #[test]
    fn a_task_leaves_from_the_middle() {
        let mut tasks = vec![Record::new(0, 0); 4];
        let mut queues = ReadyQueues::new();
        let bucket = queues.bucket(Class(0), 0);
        for task in 0..4 {
            queues.push(&mut tasks, bucket, task);
        }
        queues.remove(&mut tasks, bucket, 1);
        queues.remove(&mut tasks, bucket, 3);
        queues.push(&mut tasks, bucket, 1);
        assert_eq!(drain(&mut queues, &mut tasks, &[bucket; 4]), [0, 2, 1]);
    }

    #[test]
    fn a_bucket_made_later_takes_its_place_in_the_order() {
        let mut tasks = vec![Record::new(0, 0); 3];
        let mut queues = ReadyQueues::new();
        let last = queues.bucket(Class(0), 9);
        queues.push(&mut tasks, last, 0);
        let first = queues.bucket(Class(0), 1);
        assert_eq!(queues.peek(Class(0)), Some((0, 9)));
        let middle = queues.bucket(Class(0), 5);
        queues.push(&mut tasks, middle, 2);
        queues.push(&mut tasks, first, 1);
        assert_eq!(
            drain(&mut queues, &mut tasks, &[last, first, middle]),
            [1, 2, 0]
        );
    }

    #[test]
    fn only_classes_with_tasks_are_listed() {
        let mut tasks = vec![Record::new(0, 0); 3];
        let mut queues = ReadyQueues::new();
        let buckets = [7, 8, 9].map(|class| queues.bucket(Class(class), ()));
        assert_eq!(queues.occupied().len(), 0);
        for task in 0..3 {
            queues.push(&mut tasks, buckets[task as usize], task);
        }
        queues.remove(&mut tasks, buckets[0], 0);
        let mut listed: Vec<Class> = queues.occupied().to_vec();
        listed.sort();
        assert_eq!(listed, [Class(8), Class(9)]);
        queues.remove(&mut tasks, buckets[2], 2);
        queues.remove(&mut tasks, buckets[1], 1);
        assert_eq!(queues.occupied().len(), 0);
    }
}
