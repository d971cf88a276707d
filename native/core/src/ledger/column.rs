//! A sparse column: a field that is zero in most rows of a table. Pages appear where something stands.

const PAGE: usize = 256;

/// Values by row; a row that was never set holds the default.
#[derive(Debug)]
pub struct Column<T> {
    pages: Vec<Option<Box<[T; PAGE]>>>,
}

impl<T> Default for Column<T> {
    fn default() -> Column<T> {
        Column { pages: Vec::new() }
    }
}

impl<T: Copy + Default + PartialEq> Column<T> {
    /// The value of a row.
    #[must_use]
    pub fn get(&self, row: u32) -> T {
        let page = self.pages.get(row as usize / PAGE);
        page.and_then(Option::as_ref)
            .map_or_else(T::default, |page| page[row as usize % PAGE])
    }

    /// Sets the value of a row. The default takes no memory where no page is.
    pub fn set(&mut self, row: u32, value: T) {
        let at = row as usize / PAGE;
        let is_there = self.pages.get(at).is_some_and(Option::is_some);
        if !is_there && value == T::default() {
            return;
        }
        if at >= self.pages.len() {
            self.pages.resize_with(at + 1, || None);
        }
        let page = self.pages[at].get_or_insert_with(|| Box::new([T::default(); PAGE]));
        page[row as usize % PAGE] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_what_was_set_last() {
        let mut column = Column::<u64>::default();
        assert_eq!(column.get(u32::MAX), 0);
        column.set(5_000_000, 0);
        assert!(column.pages.is_empty(), "zero takes no memory");
        for row in [3, 255, 256, 100_000] {
            column.set(row, u64::from(row) + 1);
        }
        column.set(255, 0);
        let held = [2, 3, 255, 256, 257, 100_000].map(|row| column.get(row));
        assert_eq!(held, [0, 4, 0, 257, 0, 100_001]);
        assert_eq!(column.pages.iter().flatten().count(), 3);
    }
}
