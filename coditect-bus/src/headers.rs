//! Headers: a small ordered map from text to text that costs nothing when empty.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Text of a header: borrowed when it is known at compile time.
type Text = Cow<'static, str>;

/// Holds the headers of an envelope, in the order in which they were first set.
///
/// An empty map is one null pointer, and a clone shares its entries until one side changes them.
///
/// ```
/// use coditect_bus::Headers;
///
/// let mut headers = Headers::new();
/// headers.insert("tenant", "acme");
/// headers.insert("tenant", "other");
/// assert_eq!(headers.get("tenant"), Some("other"));
/// assert_eq!(headers.len(), 1);
/// ```
#[derive(Clone, Default)]
pub struct Headers(Option<Arc<Vec<(Text, Text)>>>);

impl Headers {
    /// Makes an empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Sets a header and returns the value it had.
    pub fn insert(&mut self, name: impl Into<Text>, value: impl Into<Text>) -> Option<Text> {
        let (name, value) = (name.into(), value.into());
        let entries = Arc::make_mut(self.0.get_or_insert_default());
        match entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => Some(std::mem::replace(slot, value)),
            None => {
                entries.push((name, value));
                None
            }
        }
    }

    /// Returns the value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Takes a header out and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<Text> {
        let shared = self.0.as_mut()?;
        let at = shared.iter().position(|(known, _)| known == name)?;
        let (_, value) = Arc::make_mut(shared).remove(at);
        if shared.is_empty() {
            self.0 = None;
        }
        Some(value)
    }

    /// Iterates over names and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries()
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Returns how many headers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Says whether there is no header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the bytes of all names and values together.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }

    fn entries(&self) -> &[(Text, Text)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// Two are equal if they hold the same; their order, which a broker may not keep, does not matter.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(name, value)| other.get(name) == Some(value))
    }
}

impl Eq for Headers {}

impl<N: Into<Text>, V: Into<Text>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.insert(name, value);
        }
        headers
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_its_entries_when_the_original_changes() {
        let mut headers: Headers = [("a", "1"), ("b", "2")].into_iter().collect();
        let copy = headers.clone();
        headers.insert("a", "3");
        assert_eq!(headers.remove("b").as_deref(), Some("2"));
        assert_eq!(copy.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "3")]);
    }

    #[test]
    fn the_last_removal_leaves_the_empty_map() {
        let mut headers: Headers = [("a", "1")].into_iter().collect();
        assert_eq!(headers.remove("x"), None);
        headers.remove("a");
        assert!(headers.is_empty());
        assert_eq!(headers, Headers::new());
        assert_eq!(std::mem::size_of::<Headers>(), std::mem::size_of::<usize>());
    }
}
