//! Which of some texts a decompressed kernel has: messages of drivers, names in its table of exports.

use std::collections::BTreeMap;

use memchr::memmem::Finder;

/// A search for texts in a window that slides over a kernel.
#[derive(Default)]
pub(super) struct TextSearch {
    wanted: Vec<Finder<'static>>,
    /// Which were found.
    found: Vec<bool>,
    /// Everything before this offset is searched.
    from: u64,
}

impl TextSearch {
    pub(super) fn new(texts: &[String]) -> Self {
        let wanted = texts.iter().map(|text| Finder::new(text.as_bytes()).into_owned()).collect();
        TextSearch { wanted, found: vec![false; texts.len()], from: 0 }
    }

    /// Search `window`, which starts at `base`.
    pub(super) fn feed(&mut self, window: &[u8], base: u64) {
        let from = (self.from.saturating_sub(base) as usize).min(window.len());
        for (text, found) in self.wanted.iter().zip(&mut self.found) {
            *found = *found || text.find(&window[from..]).is_some();
        }
        let kept = self.longest().saturating_sub(1);
        self.from = self.from.max(base + window.len().saturating_sub(kept) as u64);
    }

    /// Number of bytes at the start of a window of `len` bytes at `base` that are no longer needed.
    pub(super) fn droppable(&self, base: u64, len: usize) -> usize {
        (self.from.saturating_sub(base) as usize).min(len)
    }

    /// Which of `texts`, with which it was made, were found.
    pub(super) fn found(&self, texts: &[String]) -> BTreeMap<String, bool> {
        texts.iter().cloned().zip(self.found.iter().copied()).collect()
    }

    fn longest(&self) -> usize {
        self.wanted.iter().map(|text| text.needle().len()).max().unwrap_or(0)
    }
}
