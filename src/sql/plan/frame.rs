//! Offsets of window frames, which are plain constants in a plan.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, Interval, NamedWindowDefinition, NamedWindowExpr, ObjectNamePart, Value as Constant, ValueWithSpan,
    WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::cast::cast_target;
use super::constant::{digits_of, plain_number, quoted};
use super::interval::parse_interval;
use super::names::first_argument;
use crate::sql::{PgType, SqlError, SqlErrorKind};

/// The frame of a call `f(x) OVER (... ROWS 2 PRECEDING)`.
pub fn of_call(function: &mut Function) -> Result<(), SqlError> {
    match &mut function.over {
        Some(WindowType::WindowSpec(spec)) => of_window(spec),
        _ => Ok(()),
    }
}

/// The frames of `WINDOW w AS (...)`.
pub fn of_named(windows: &mut [NamedWindowDefinition]) -> Result<(), SqlError> {
    windows.iter_mut().try_for_each(|window| match &mut window.1 {
        NamedWindowExpr::WindowSpec(spec) => of_window(spec),
        NamedWindowExpr::NamedWindow(_) => Ok(()),
    })
}

fn of_window(spec: &mut WindowSpec) -> Result<(), SqlError> {
    let Some(frame) = &mut spec.window_frame else {
        return Ok(());
    };
    let WindowFrame {
        units,
        start_bound,
        end_bound,
    } = frame;
    offset(start_bound, *units, "starting")?;
    end_bound
        .iter_mut()
        .try_for_each(|bound| offset(bound, *units, "ending"))
}

fn offset(bound: &mut WindowFrameBound, units: WindowFrameUnits, which: &str) -> Result<(), SqlError> {
    let (WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset))) = bound else {
        return Ok(());
    };
    plain_number(offset);
    let negative = || {
        SqlError::new(
            SqlErrorKind::InvalidFrameSize,
            if units == WindowFrameUnits::Range {
                "invalid preceding or following size in window function".to_string()
            } else {
                format!("frame {which} offset must not be negative")
            },
        )
    };
    if let Some(digits) = digits_of(offset) {
        if digits.starts_with('-') {
            return Err(negative());
        }
        if units != WindowFrameUnits::Range && digits.parse::<u64>().is_err() {
            return Err(SqlError::unsupported("a frame offset that is not an integer"));
        }
        return Ok(());
    }
    let Some(text) = interval_text(offset).filter(|_| units == WindowFrameUnits::Range) else {
        return Err(SqlError::unsupported("a frame offset that is not a constant"));
    };
    let (months, days, micros) = parse_interval(text)?;
    if months < 0 || days < 0 || micros < 0 {
        return Err(negative());
    }
    let said = format!("{months} months {days} days {micros} microseconds");
    **offset = Expr::Interval(Interval {
        value: Box::new(quoted(&said)),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    });
    Ok(())
}

/// The text of an interval that is a constant.
fn interval_text(offset: &Expr) -> Option<&str> {
    let text = match offset {
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(ObjectNamePart::as_ident)?;
            if cast_target(&name.value)?.0 != PgType::INTERVAL {
                return None;
            }
            first_argument(function)?
        }
        other => other,
    };
    match text {
        Expr::Value(ValueWithSpan {
            value: Constant::SingleQuotedString(text),
            ..
        }) => Some(text),
        _ => None,
    }
}
