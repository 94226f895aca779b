//! Rules from their making to what they tell.
