//! CREATE ROLE, ALTER ROLE and DROP ROLE in their simplest form: name, password, LOGIN, SUPERUSER.

use datafusion::sql::sqlparser::ast::{
    AlterRoleOperation, CreateRole, Expr, Ident, ObjectName, Password, RoleOption, Value as Literal,
};

use super::{done, single_name, skipped};
use crate::engine::{RoleRecord, ScramVerifier};
use crate::sql::error::{SqlError, SqlErrorKind};
use crate::sql::names;
use crate::sql::names::folded;
use crate::sql::result::{NoticeKind, QueryResult};
use crate::sql::session::Session;

impl Session {
    pub(in crate::sql) async fn create_role(&mut self, create: &CreateRole) -> Result<QueryResult, SqlError> {
        self.require_superuser("to create role")?;
        self.refuse_in_block("CREATE ROLE")?;
        refuse_attributes(create)?;
        let verifier = verifier(create.password.as_ref())?;
        for name in &create.names {
            let name = single_name(name)?;
            names::check_new(&name)?;
            if name.starts_with("pg_") {
                return Err(SqlError::new(
                    SqlErrorKind::InvalidObjectDefinition,
                    format!("role name \"{name}\" is reserved"),
                )
                .detail("Role names starting with \"pg_\" are reserved."));
            }
            let role = RoleRecord {
                name,
                superuser: create.superuser.unwrap_or(false),
                login: create.login.unwrap_or(false),
                verifier: verifier.clone(),
            };
            self.engine.system().create_role(role).await?;
        }
        Ok(done("CREATE ROLE"))
    }

    pub(in crate::sql) async fn alter_role(
        &mut self,
        name: &Ident,
        operation: &AlterRoleOperation,
    ) -> Result<QueryResult, SqlError> {
        self.refuse_in_block("ALTER ROLE")?;
        let name = match folded(name).as_str() {
            "current_user" | "session_user" | "current_role" if name.quote_style.is_none() => self.user.clone(),
            name => name.to_string(),
        };
        let AlterRoleOperation::WithOptions { options } = operation else {
            return Err(SqlError::unsupported(format_args!("ALTER ROLE {name} {operation}")));
        };
        let only_own_password =
            name == self.user && options.iter().all(|option| matches!(option, RoleOption::Password(_)));
        if !only_own_password {
            self.require_superuser("to alter role")?;
        }
        let mut password = None;
        let (mut login, mut superuser) = (None, None);
        for option in options {
            match option {
                RoleOption::Password(given) => password = Some(verifier(Some(given))?),
                RoleOption::Login(given) => login = Some(*given),
                RoleOption::SuperUser(given) => superuser = Some(*given),
                // What every superuser may do anyway, and every role inherits already.
                RoleOption::Inherit(true) => {}
                other => return Err(SqlError::unsupported(format_args!("{other} of a role"))),
            }
        }
        self.engine
            .system()
            .alter_role(&name, |role| {
                if let Some(verifier) = &password {
                    role.verifier = verifier.clone();
                }
                role.login = login.unwrap_or(role.login);
                role.superuser = superuser.unwrap_or(role.superuser);
            })
            .await?;
        Ok(done("ALTER ROLE"))
    }

    pub(super) async fn drop_roles(&mut self, names: &[ObjectName], if_exists: bool) -> Result<QueryResult, SqlError> {
        self.require_superuser("to drop role")?;
        self.refuse_in_block("DROP ROLE")?;
        for name in names {
            let name = single_name(name)?;
            if name == self.user {
                return Err(SqlError::new(
                    SqlErrorKind::ObjectInUse,
                    "current user cannot be dropped",
                ));
            }
            if self.engine.system().role(&name)?.is_none() {
                let message = format!("role \"{name}\" does not exist");
                if !if_exists {
                    return Err(SqlError::new(SqlErrorKind::UndefinedObject, message));
                }
                self.notice(skipped(NoticeKind::Skipped, format!("{message}, skipping")));
                continue;
            }
            self.engine.system().drop_role(&name).await?;
        }
        Ok(done("DROP ROLE"))
    }
}

fn verifier(password: Option<&Password>) -> Result<Option<ScramVerifier>, SqlError> {
    match password {
        None | Some(Password::NullPassword) => Ok(None),
        Some(Password::Password(Expr::Value(value))) => match &value.value {
            Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) if text.is_empty() => Ok(None),
            Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => {
                Ok(Some(ScramVerifier::of_password(text)))
            }
            Literal::Null => Ok(None),
            _ => Err(SqlError::new(
                SqlErrorKind::Syntax,
                "a password is a string literal or NULL",
            )),
        },
        Some(Password::Password(_)) => Err(SqlError::new(
            SqlErrorKind::Syntax,
            "a password is a string literal or NULL",
        )),
    }
}

fn refuse_attributes(create: &CreateRole) -> Result<(), SqlError> {
    let unknown = [
        (create.if_not_exists, "CREATE ROLE IF NOT EXISTS"),
        (create.bypassrls == Some(true), "BYPASSRLS"),
        (create.create_db == Some(true), "CREATEDB"),
        (create.create_role == Some(true), "CREATEROLE"),
        (create.replication == Some(true), "REPLICATION"),
        (create.inherit == Some(false), "NOINHERIT"),
        (create.connection_limit.is_some(), "CONNECTION LIMIT"),
        (create.valid_until.is_some(), "VALID UNTIL"),
        (!create.in_role.is_empty() || !create.in_group.is_empty(), "IN ROLE"),
        (
            !create.role.is_empty() || !create.user.is_empty() || !create.admin.is_empty(),
            "members of a role",
        ),
    ];
    match unknown.iter().find(|(present, _)| *present) {
        Some((_, construct)) => Err(SqlError::unsupported(format_args!("{construct} of a role"))),
        None => Ok(()),
    }
}
