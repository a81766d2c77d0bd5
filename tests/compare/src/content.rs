//! The values that are stored: noise, so that nothing compresses, with their number in front, so
//! that the value of another key is a wrong value.

/// One value at a time of a given length.
pub(crate) struct Content {
    bytes: Vec<u8>,
}

const NUMBER_BYTES: usize = size_of::<u64>();

impl Content {
    /// Of this length, at least that of a number. Marsaglia's xorshift with 64 bits.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut noise = Vec::with_capacity(bytes + NUMBER_BYTES);
        while noise.len() < bytes.max(NUMBER_BYTES) {
            state = next_random(state);
            noise.extend_from_slice(&state.to_le_bytes());
        }
        noise.truncate(bytes.max(NUMBER_BYTES));
        Self { bytes: noise }
    }

    /// The value of this number.
    pub(crate) fn of(&mut self, number: u64) -> &[u8] {
        if let Some(front) = self.bytes.first_chunk_mut::<NUMBER_BYTES>() {
            *front = number.to_le_bytes();
        }
        &self.bytes
    }
}

/// The state after this one, which must not be 0.
pub(crate) const fn next_random(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}

#[cfg(test)]
mod tests {
    use super::Content;

    #[test]
    fn values_have_their_length_and_differ_by_number() {
        for bytes in [8, 9, 64, 256, 4096] {
            let mut content = Content::new(bytes);
            let one = content.of(1).to_vec();
            assert_eq!(one.len(), bytes);
            assert_ne!(one, content.of(2));
            assert_eq!(one, content.of(1));
        }
    }
}
