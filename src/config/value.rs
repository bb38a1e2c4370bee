//! What a setting's value may be: Kafka's types and validators, with Kafka's words for what is wrong.
//!
//! *Which core*: any. *Invariants*: a [`Value`] has passed its [`Kind`].
//! *Not here*: which settings there are, and where values come from.
//! *Why Kafka's words*: tools show them, and people look them up.

use std::fmt;

/// A setting's type and the values that it takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Bool,
    /// A 32-bit number.
    Int(Range<i64>),
    /// A 64-bit number.
    Long(Range<i64>),
    /// -1, or a 32-bit number within the range.
    IntOrMinusOne(Range<i64>),
    /// -1, or a 64-bit number within the range.
    LongOrMinusOne(Range<i64>),
    /// A number with a fraction.
    Double(Range<f64>),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Words of these, separated by commas; may be empty.
    ListOf(&'static [&'static str]),
    /// `*`, or `partition:broker` pairs, separated by commas; may be empty (KIP-73).
    ThrottledReplicas,
    /// Text that passes the check.
    Text(fn(&str) -> Result<(), String>),
}

/// Bounds, both inclusive.
#[derive(Clone, Copy, Debug)]
pub struct Range<T> {
    /// The least.
    pub min: T,
    /// The greatest; `None`: that of the type.
    pub max: Option<T>,
}

/// `min` and all above.
pub const fn at_least<T: Copy>(min: T) -> Range<T> {
    Range { min, max: None }
}

/// From `min` to `max`, both included.
pub const fn between<T: Copy>(min: T, max: T) -> Range<T> {
    Range { min, max: Some(max) }
}

/// Any number of the type.
pub const ANY: Range<i64> = at_least(i64::MIN);

/// A value of its kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of the whole numbers.
    Int(i64),
    /// Of [`Kind::Double`].
    Double(f64),
    /// Of [`Kind::OneOf`] and [`Kind::Text`].
    Text(String),
    /// Of the lists.
    List(Vec<String>),
}

/// The type of a config in DescribeConfigs (KIP-569).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    /// BOOLEAN
    Boolean = 1,
    /// STRING
    String = 2,
    /// INT
    Int = 3,
    /// LONG
    Long = 5,
    /// DOUBLE
    Double = 6,
    /// LIST
    List = 7,
}

impl Kind {
    /// Reads a value as Kafka does: blanks around it do not count.
    pub fn parse(&self, name: &str, text: &str) -> Result<Value, String> {
        let text = text.trim_matches(|c| c <= ' ');
        let invalid = |why: &str| format!("Invalid value {text} for configuration {name}: {why}");
        match self {
            Kind::Bool if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            Kind::Bool if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            Kind::Bool => Err(invalid("Expected value to be either true or false")),
            Kind::Int(range) => {
                let number = text.parse::<i32>().map_err(|_| invalid("Not a number of type INT"))?;
                range.check(name, number.into()).map(Value::Int)
            }
            Kind::Long(range) => {
                let number = text.parse::<i64>().map_err(|_| invalid("Not a number of type LONG"))?;
                range.check(name, number).map(Value::Int)
            }
            Kind::IntOrMinusOne(range) => {
                let number = text.parse::<i32>().map_err(|_| invalid("Not a number of type INT"))?;
                range.check_or_minus_one(name, number.into()).map(Value::Int)
            }
            Kind::LongOrMinusOne(range) => {
                let number = text.parse::<i64>().map_err(|_| invalid("Not a number of type LONG"))?;
                range.check_or_minus_one(name, number).map(Value::Int)
            }
            Kind::Double(range) => match text.parse::<f64>() {
                Ok(number) if !number.is_nan() => range.check(name, number).map(Value::Double),
                _ => Err(invalid("Not a number of type DOUBLE")),
            },
            Kind::OneOf(words) if words.contains(&text) => Ok(Value::Text(text.into())),
            Kind::OneOf(words) => Err(invalid(&format!("String must be one of: {}", words.join(", ")))),
            Kind::ListOf(words) => parse_list(name, text, words).map(Value::List),
            Kind::ThrottledReplicas => parse_throttled(name, text).map(Value::List),
            Kind::Text(check) => match check(text) {
                Ok(()) => Ok(Value::Text(text.into())),
                Err(why) => Err(invalid(&why)),
            },
        }
    }

    /// The type as clients know it.
    pub fn config_type(&self) -> ConfigType {
        match self {
            Kind::Bool => ConfigType::Boolean,
            Kind::Int(_) | Kind::IntOrMinusOne(_) => ConfigType::Int,
            Kind::Long(_) | Kind::LongOrMinusOne(_) => ConfigType::Long,
            Kind::Double(_) => ConfigType::Double,
            Kind::OneOf(_) | Kind::Text(_) => ConfigType::String,
            Kind::ListOf(_) | Kind::ThrottledReplicas => ConfigType::List,
        }
    }
}

/// For people: what may be put.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Bool => f.write_str("true or false"),
            Kind::Int(range) | Kind::Long(range) => write!(f, "number{range}"),
            Kind::IntOrMinusOne(range) | Kind::LongOrMinusOne(range) => write!(f, "-1, or number{range}"),
            Kind::Double(range) => write!(f, "number{range}"),
            Kind::OneOf(words) => f.write_str(&words.join(", ")),
            Kind::ListOf(words) => write!(f, "list of {}", words.join(", ")),
            Kind::ThrottledReplicas => f.write_str("`*` or list of partition:broker"),
            Kind::Text(_) => f.write_str("text"),
        }
    }
}

impl<T: PartialOrd + Copy + fmt::Display> Range<T> {
    fn check(&self, name: &str, number: T) -> Result<T, String> {
        let bound = match self {
            Range { min, .. } if number < *min => format!("at least {min}"),
            Range { max: Some(max), .. } if number > *max => format!("no more than {max}"),
            Range { .. } => return Ok(number),
        };
        Err(format!("Invalid value {number} for configuration {name}: Value must be {bound}"))
    }
}

impl Range<i64> {
    fn check_or_minus_one(&self, name: &str, number: i64) -> Result<i64, String> {
        let is_in_range = number >= self.min && self.max.is_none_or(|max| number <= max);
        if number == -1 || is_in_range {
            return Ok(number);
        }
        let bounds = match self.max {
            Some(max) => format!("between {} and {max}", self.min),
            None => format!("at least {}", self.min),
        };
        Err(format!("Invalid value {number} for configuration {name}: Value must be {bounds} or equal to -1"))
    }
}

impl<T: fmt::Display> fmt::Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let min = self.min.to_string();
        match &self.max {
            Some(max) => write!(f, " from {min} to {max}"),
            None if min == i64::MIN.to_string() => Ok(()),
            None => write!(f, " from {min}"),
        }
    }
}

/// As it is written in a file; what [`Kind::parse`] reads back.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            // As Java does: a fraction always.
            Value::Double(value) => write!(f, "{value:?}"),
            Value::Text(value) => f.write_str(value),
            Value::List(words) => f.write_str(&words.join(",")),
        }
    }
}

fn split(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(|word| word.trim().to_owned()).collect() }
}

fn parse_list(name: &str, text: &str, allowed: &[&str]) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for word in split(text) {
        if word.is_empty() {
            return Err(format!("Configuration '{name}' values must not be empty."));
        }
        if !allowed.contains(&word.as_str()) {
            let allowed = allowed.join(", ");
            return Err(format!("Invalid value {word} for configuration {name}: String must be one of: {allowed}"));
        }
        if !words.contains(&word) {
            words.push(word);
        }
    }
    Ok(words)
}

fn parse_throttled(name: &str, text: &str) -> Result<Vec<String>, String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair = |word: &String| word.split_once(':').is_some_and(|(p, b)| is_number(p) && is_number(b));
    // One comma at the end is forgiven, as by Java's split.
    let words = split(text.strip_suffix(',').unwrap_or(text));
    if words.iter().all(is_pair) || words == ["*"] {
        return Ok(words);
    }
    Err(format!(
        "Invalid value [{}] for configuration {name}: {name} must be the literal '*' or a list of replicas in the \
         following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        words.join(", ")
    ))
}

/// Any text.
pub fn any_text(_: &str) -> Result<(), String> {
    Ok(())
}
