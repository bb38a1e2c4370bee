//! A setting, and the macro that makes a typed struct and its table of one list, so that neither can be without the other.
//!
//! *Which core*: any. *Invariants*: every field of such a struct has its row, every row its field, every default its kind.
//! *Not here*: layers and their order (`layers`).

use super::value::{Kind, Value};

/// A row of a table of settings.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in the file; flags and variables are made of it.
    pub name: &'static str,
    /// The flag that switches it off, if it is one that is on or off.
    pub off: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The default, as it would be written; `None`: not set.
    pub default: Option<&'static str>,
    /// What it does.
    pub doc: &'static str,
}

impl Setting {
    /// The environment's variable that says the same: `CHRONIK_` and the name in capitals.
    pub fn variable(&self) -> String {
        variable_of(self.name)
    }
}

/// See [`Setting::variable`].
pub fn variable_of(name: &str) -> String {
    format!("CHRONIK_{}", name.replace(['.', '-'], "_").to_uppercase())
}

/// A field that a setting's value can become. Kinds are bounded so that every value fits its field.
pub trait Field: Sized {
    /// The value as this type; `None`: not set.
    fn of(value: Option<Value>) -> Self;
}

macro_rules! whole_number_fields {
    ($($type:ty),+) => { $(
        impl Field for $type {
            fn of(value: Option<Value>) -> Self {
                match value {
                    Some(Value::Int(number)) => number.try_into().expect("the kind bounds the number to its field"),
                    other => mismatch(&other),
                }
            }
        }
    )+ };
}

whole_number_fields!(i16, i32, i64, u16, u64, usize);

impl Field for bool {
    fn of(value: Option<Value>) -> Self {
        match value {
            Some(Value::Bool(value)) => value,
            other => mismatch(&other),
        }
    }
}

impl Field for String {
    fn of(value: Option<Value>) -> Self {
        match value {
            Some(Value::Text(text)) => text,
            other => mismatch(&other),
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn of(value: Option<Value>) -> Self {
        value.map(|value| T::of(Some(value)))
    }
}

fn mismatch(value: &Option<Value>) -> ! {
    unreachable!("a field whose type is not its kind's: {value:?}")
}

/// Makes a struct of settings, its table `TABLE`, its defaults, and `assign`.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $Struct:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $name:literal, $kind:expr, $default:expr; )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Struct {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl $Struct {
            /// Every setting, in the order of the documentation.
            pub const TABLE: &'static [$crate::config::setting::Setting] = &[
                $( $crate::config::setting::Setting {
                    name: $name,
                    off: concat!("no-", $name),
                    kind: $kind,
                    default: $default,
                    doc: concat!($($doc),+),
                }, )+
            ];

            /// Sets the field of a setting to a value of its kind.
            pub(super) fn assign(&mut self, name: &str, value: $crate::config::value::Value) {
                match name {
                    $( $name => self.$field = $crate::config::setting::Field::of(Some(value)), )+
                    _ => unreachable!("{name} is not in the table"),
                }
            }
        }

        impl Default for $Struct {
            fn default() -> Self {
                let default = |name: &str, kind: &$crate::config::value::Kind, text: Option<&str>| {
                    text.map(|text| kind.parse(name, text).expect("a default is of its kind"))
                };
                $Struct {
                    $( $field: $crate::config::setting::Field::of(default($name, &$kind, $default)), )+
                }
            }
        }
    };
}

pub(super) use settings;
