//! Numbered places, the lowest free one first.
//!
//! So the numbers stay small, and the memory of a burst goes back when it is over: the places at the end empty first.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Free places beyond twice those taken from which on memory is given back.
const SPARE: usize = 64;

/// Things that are found by their number.
pub(super) struct Places<T> {
    all: Vec<Option<T>>,
    /// Numbers that were free once. A number may be taken again, gone or here twice: it is looked at when it comes up.
    free: BinaryHeap<Reverse<usize>>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { all: Vec::new(), free: BinaryHeap::new() }
    }
}

impl<T> Places<T> {
    /// Puts a thing, made for its number, on the lowest free place.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(usize) -> T) -> usize {
        while let Some(Reverse(index)) = self.free.pop() {
            if let Some(place @ None) = self.all.get_mut(index) {
                *place = Some(make(index));
                return index;
            }
        }
        let index = self.all.len();
        self.all.push(Some(make(index)));
        index
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.all.get(index).and_then(Option::as_ref)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.all.get_mut(index).and_then(Option::as_mut)
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        let removed = self.all.get_mut(index).and_then(Option::take);
        while let Some(None) = self.all.last() {
            self.all.pop();
        }
        self.free.push(Reverse(index));
        if self.all.capacity() > 4 * self.all.len() + SPARE {
            self.all.shrink_to(2 * self.all.len() + SPARE);
        }
        if self.free.len() > self.all.len() + SPARE {
            let empty = self.all.iter().enumerate().filter(|(_, place)| place.is_none());
            self.free = empty.map(|(index, _)| Reverse(index)).collect();
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_free_place_is_taken_and_the_room_of_a_burst_goes_back() {
        let mut places = Places::default();
        for round in 0..3 {
            let taken: Vec<_> = (0..1000).map(|_| places.insert_with(|index| index)).collect();
            assert_eq!(taken, (0..1000).collect::<Vec<_>>(), "round {round}");
            assert_eq!(places.remove(500), Some(500));
            assert_eq!(places.remove(7), Some(7));
            assert_eq!((places.insert_with(|index| index), places.insert_with(|index| index)), (7, 500));
            assert_eq!(places.insert_with(|index| index), 1000);
            for index in (0..1001).rev() {
                assert_eq!(places.remove(index), Some(index));
                assert_eq!(places.remove(index), None);
            }
            assert!(places.all.capacity() <= SPARE && places.free.len() <= SPARE);
        }
    }

    #[test]
    fn place_is_never_given_twice() {
        let mut places = Places::default();
        let mut taken = std::collections::BTreeSet::new();
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = usize::try_from(state >> 33).unwrap();
            if pick.is_multiple_of(2) || taken.is_empty() {
                assert!(taken.insert(places.insert_with(|index| index)));
            } else {
                let index = *taken.iter().nth(pick / 2 % taken.len()).unwrap();
                taken.remove(&index);
                assert_eq!(places.remove(index), Some(index));
            }
            assert!(taken.iter().all(|index| places.get(*index) == Some(index)) || pick % 64 != 0);
        }
    }
}
