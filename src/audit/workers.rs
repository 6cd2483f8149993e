//! Processes several items in parallel, with a bounded number of threads and of results.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard};

/// How many results each thread may have waiting for an earlier one.
const WAITING: usize = 16;

/// Call `work` for each item, `jobs` at a time, and on this thread `take` with each result, in the order
/// of the items and as soon as it is there, until that breaks. However many items there are, only a few
/// results wait.
pub(super) fn each<T: Sync, R: Send>(
    items: &[T],
    jobs: Option<NonZeroUsize>,
    work: impl Fn(&T) -> R + Sync,
    take: &mut dyn FnMut(R) -> ControlFlow<()>,
) {
    let jobs = jobs.or_else(|| std::thread::available_parallelism().ok());
    let jobs = jobs.map_or(1, NonZeroUsize::get).min(items.len());
    if jobs <= 1 {
        _ = items.iter().try_for_each(|item| take(work(item)));
        return;
    }
    let line = Line { state: Mutex::default(), changed: Condvar::new(), most: jobs * WAITING };
    std::thread::scope(|scope| {
        let _stop = Stop(&line);
        for _ in 0..jobs {
            scope.spawn(|| {
                // If this thread panics, so does the scope, after the other threads have ended.
                let stop = Stop(&line);
                while let Some((index, item)) = line.next(items) {
                    line.put(index, work(item));
                }
                std::mem::forget(stop);
            });
        }
        for index in 0..items.len() {
            let Some(result) = line.get(index) else { return };
            if take(result).is_break() {
                return;
            }
        }
    });
}

/// Call `work` for each item, `jobs` at a time. The results are in the order of the items.
pub(super) fn map<T: Sync, R: Send>(
    items: &[T],
    jobs: Option<NonZeroUsize>,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let mut results = Vec::with_capacity(items.len());
    each(items, jobs, work, &mut |result| {
        results.push(result);
        ControlFlow::Continue(())
    });
    results
}

/// The results that wait, in a line.
struct Line<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
    /// How many items may be begun before the result of the first of them is taken.
    most: usize,
}

struct State<R> {
    /// The next item to begin.
    next: usize,
    /// How many results were taken.
    taken: usize,
    waiting: BTreeMap<usize, R>,
    /// No more results are wanted, or a thread has panicked.
    stopped: bool,
}

impl<R> Default for State<R> {
    fn default() -> Self {
        State { next: 0, taken: 0, waiting: BTreeMap::new(), stopped: false }
    }
}

impl<R> Line<R> {
    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(|held| held.into_inner())
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State<R>>) -> MutexGuard<'s, State<R>> {
        self.changed.wait(state).unwrap_or_else(|held| held.into_inner())
    }

    /// The next item, when there is room for its result; None after the last one.
    fn next<'t, T>(&self, items: &'t [T]) -> Option<(usize, &'t T)> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return None;
            }
            let item = items.get(state.next)?;
            if state.next < state.taken + self.most {
                let index = state.next;
                state.next += 1;
                return Some((index, item));
            }
            state = self.wait(state);
        }
    }

    fn put(&self, index: usize, result: R) {
        self.state().waiting.insert(index, result);
        self.changed.notify_all();
    }

    /// The result of an item; None after a panic.
    fn get(&self, index: usize) -> Option<R> {
        let mut state = self.state();
        loop {
            if let Some(result) = state.waiting.remove(&index) {
                state.taken = index + 1;
                drop(state);
                self.changed.notify_all();
                return Some(result);
            }
            if state.stopped {
                return None;
            }
            state = self.wait(state);
        }
    }
}

/// When it is dropped, the threads begin no further item.
struct Stop<'l, R>(&'l Line<R>);

impl<R> Drop for Stop<'_, R> {
    fn drop(&mut self) {
        self.0.state().stopped = true;
        self.0.changed.notify_all();
    }
}
