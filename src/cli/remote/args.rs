//! Flags of the commands that talk to a gateway.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::limit_args::KeyLimitArgs;
use super::rule_args::KeyExplainArgs;

/// How the admin API is reached.
#[derive(Debug, Clone, Args)]
pub(crate) struct Reach {
    /// Address of the admin API.
    #[arg(
        long,
        value_name = "URL",
        env = "MILLRACE_ADMIN_URL",
        default_value = "http://127.0.0.1:9001",
        global = true
    )]
    pub(crate) admin_url: String,
    /// File with an admin token. Without it `MILLRACE_ADMIN_TOKEN` holds the token, or `millrace login` has saved one.
    #[arg(long, value_name = "FILE", env = "MILLRACE_ADMIN_TOKEN_FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Organization, by id or name. The only one when absent.
    #[arg(long, value_name = "ORGANIZATION", env = "MILLRACE_ORGANIZATION", global = true)]
    pub(crate) organization: Option<String>,
    /// Prints JSON for programs.
    #[arg(long, env = "MILLRACE_JSON", value_parser = clap::builder::FalseyValueParser::new(), global = true)]
    pub(crate) json: bool,
    /// Asks nothing before a command that takes something away.
    #[arg(short, long, env = "MILLRACE_YES", value_parser = clap::builder::FalseyValueParser::new(), global = true)]
    pub(crate) yes: bool,
}

// A group of commands that all talk to a gateway. No doc comment: clap would show it as the help of each group.
#[derive(Debug, Args)]
pub(crate) struct Group<T: Subcommand> {
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(subcommand)]
    pub(crate) command: T,
}

/// One command that talks to a gateway, beside others that do not.
#[derive(Debug, Args)]
pub(crate) struct Leaf<T: Args> {
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(flatten)]
    pub(crate) args: T,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrgCommand {
    /// Lists organizations.
    List,
    /// Shows the organization.
    Show,
    /// Makes an organization.
    Create {
        /// 1 to 255 characters.
        name: String,
    },
    /// Changes settings of the organization.
    Set(OrgSetArgs),
    /// Deletes the organization. Nothing of it may be served.
    Delete {
        /// The organization's name, typed again.
        #[arg(long, value_name = "NAME")]
        confirm: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OrgSetArgs {
    /// New name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Projects that are not archived, at most.
    #[arg(long, value_name = "COUNT")]
    pub(crate) project_limit: Option<u32>,
    /// Active keys over all projects, at most.
    #[arg(long, value_name = "COUNT")]
    pub(crate) active_key_limit: Option<u32>,
    /// Whether the approver of a configuration must be another person than its author.
    #[arg(long, value_name = "BOOL")]
    pub(crate) require_second_approver: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Lists members.
    List,
    /// Shows the own membership.
    Me,
    /// Changes role and grants of a member.
    Set {
        /// Id or e-mail.
        user: String,
        #[command(flatten)]
        role: RoleArgs,
    },
    /// Removes a member and disables the member's keys.
    Remove {
        /// Id or e-mail.
        user: String,
    },
    /// Invites a person; prints what accepts the invitation, once.
    Invite {
        /// E-mail of the person.
        email: String,
        #[command(flatten)]
        role: RoleArgs,
    },
    /// Lists invitations.
    Invitations,
    /// Takes an invitation back.
    Revoke {
        /// Id of the invitation.
        invitation: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// Role in the organization.
    #[arg(long, value_enum)]
    pub(crate) role: Option<RoleArg>,
    /// Role in a project, as `PROJECT=ROLE`; roles: project_admin, editor, developer, viewer. May be given several times.
    #[arg(long = "grant", value_name = "PROJECT=ROLE")]
    pub(crate) grants: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Everything in the organization.
    Owner,
    /// Everything except deletion, retention and owners.
    Admin,
    /// Reads everything.
    Auditor,
    /// What the grants say.
    Member,
}

impl RoleArg {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::Member => "member",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Lists admin tokens.
    List,
    /// Makes an admin token and prints it, once.
    Create {
        /// What it is for.
        #[arg(long)]
        description: String,
        #[command(flatten)]
        role: RoleArgs,
        /// Lets it do what an instance administrator may, such as `millrace instance`. Only such a one makes it.
        #[arg(long)]
        instance: bool,
        /// How long it works, such as `90 days`; a year at most.
        #[arg(long, value_name = "DURATION", default_value = "90 days")]
        expires: String,
    },
    /// Ends an admin token.
    Delete {
        /// Id of the token.
        token: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// E-mail of the user. The password is asked for, or read from standard input.
    #[arg(long)]
    pub(crate) email: String,
    /// How long the token that is saved works; a year at most.
    #[arg(long, value_name = "DURATION", default_value = "30 days")]
    pub(crate) expires: String,
    /// Six digits of the second factor, for a user who has one.
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// Lets the token do what an instance administrator may, such as `millrace instance`. For those only.
    #[arg(long)]
    pub(crate) instance: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// E-mail of the first operator. The set-up token and a new password are asked for, or are two lines of standard input.
    #[arg(long)]
    pub(crate) email: String,
    /// How long the token that is saved works; a year at most.
    #[arg(long, value_name = "DURATION", default_value = "30 days")]
    pub(crate) expires: String,
    /// Lets the token do what an instance administrator may, such as `millrace instance`.
    #[arg(long)]
    pub(crate) instance: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Shows the own user.
    Show,
    /// Changes the own password and ends every session. Both are asked for, or are two lines of standard input.
    Password,
    /// Prints the secret of a new second factor, once. The password is asked for, or read from standard input.
    OfferSecondFactor,
    /// Puts the second factor in force.
    ConfirmSecondFactor {
        /// Six digits, as the authenticator shows them.
        code: String,
    },
    /// Removes the second factor. The password is asked for, or read from standard input.
    RemoveSecondFactor,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RemoteKeyCommand {
    /// Makes a key of a project on the gateway and prints it, once.
    Create(Leaf<KeyCreateArgs>),
    /// Lists keys of a project.
    List(Leaf<KeyListArgs>),
    /// Shows a key.
    Show(Leaf<KeyNameArgs>),
    /// Gives a key a new secret and prints it, once.
    Roll(Leaf<KeyRollArgs>),
    /// Stops a key at once on all workers.
    Disable(Leaf<KeyStateArgs>),
    /// Lets a disabled key work again.
    Enable(Leaf<KeyStateArgs>),
    /// Deletes a key at once on all workers.
    Delete(Leaf<KeyNameArgs>),
    /// Says how IAM rules would decide on a request with a key. Sends nothing to a provider.
    Explain(Leaf<KeyExplainArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct KeyCreateArgs {
    /// Project, by slug or id.
    #[arg(long)]
    pub(crate) project: String,
    /// What it is for, 1 to 255 characters.
    #[arg(long)]
    pub(crate) description: String,
    /// How long it works, such as `90 days`. For ever when absent.
    #[arg(long, value_name = "DURATION")]
    pub(crate) expires: Option<String>,
    /// Group that it is reported under.
    #[arg(long)]
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) limits: KeyLimitArgs,
}

#[derive(Debug, Args)]
pub(crate) struct KeyListArgs {
    /// Project, by slug or id.
    #[arg(long)]
    pub(crate) project: String,
    /// Only own keys.
    #[arg(long)]
    pub(crate) mine: bool,
    /// Only `active` or `disabled` ones.
    #[arg(long, value_parser = ["active", "disabled"])]
    pub(crate) status: Option<String>,
    /// Only of this group.
    #[arg(long)]
    pub(crate) group: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KeyNameArgs {
    /// Id of the key: `key_...`.
    pub(crate) key: String,
    /// Project, by slug or id.
    #[arg(long)]
    pub(crate) project: String,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRollArgs {
    #[command(flatten)]
    pub(crate) name: KeyNameArgs,
    /// How long the old secret goes on working, such as `1 hour`; 7 days at most.
    #[arg(long, value_name = "DURATION")]
    pub(crate) overlap: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KeyStateArgs {
    #[command(flatten)]
    pub(crate) name: KeyNameArgs,
    /// Why, for the audit log.
    #[arg(long)]
    pub(crate) comment: Option<String>,
}

/// Where the value of a secret comes from: never from the command line, which other users can see.
#[derive(Debug, Args)]
pub(crate) struct ValueArgs {
    /// File with the value; `-` is standard input. Asked for on a terminal when absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) value_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Makes a secret that configurations name with `!secret NAME`.
    Create {
        /// Name, of letters, digits, `_`, `.` and `-`.
        name: String,
        #[command(flatten)]
        owner: OwnerArgs,
        /// Where it may be sent: `scheme://host:port`. May be given several times.
        #[arg(long = "origin", value_name = "ORIGIN", required = true)]
        origins: Vec<String>,
        #[command(flatten)]
        value: ValueArgs,
    },
    /// Lists secrets, never their values.
    List {
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Enters a new value; it is live at once.
    Rotate {
        /// Name or id.
        name: String,
        #[command(flatten)]
        owner: OwnerArgs,
        #[command(flatten)]
        value: ValueArgs,
    },
    /// Deletes a secret that nothing needs.
    Delete {
        /// Name or id.
        name: String,
        #[command(flatten)]
        owner: OwnerArgs,
        /// Deletes it although a configuration needs it; for owners.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OwnerArgs {
    /// Project, by slug or id. The organization's own when absent.
    #[arg(long)]
    pub(crate) project: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProviderKeyCommand {
    /// Makes a provider key that configurations use without naming it.
    Create {
        /// Provider, such as `openai`.
        provider: String,
        /// What people call it.
        #[arg(long)]
        label: String,
        #[command(flatten)]
        owner: OwnerArgs,
        /// Address it may be sent to, instead of the provider's own.
        #[arg(long, value_name = "URL")]
        base_url: Option<String>,
        #[command(flatten)]
        value: ValueArgs,
    },
    /// Lists provider keys, never their values.
    List {
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Enters a new value; it is live at once.
    Rotate {
        /// Id: `pk_...`.
        id: String,
        #[command(flatten)]
        owner: OwnerArgs,
        #[command(flatten)]
        value: ValueArgs,
    },
    /// Deletes a provider key.
    Delete {
        /// Id: `pk_...`.
        id: String,
        #[command(flatten)]
        owner: OwnerArgs,
        /// Deletes it although a configuration needs it; for owners.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InstanceCommand {
    /// Shows how workers, queue and store fare.
    Status,
    /// Shows what new organizations begin with.
    Settings,
    /// Changes what new organizations begin with.
    Set {
        /// Projects of a new organization, at most.
        #[arg(long, value_name = "COUNT")]
        project_limit: Option<u32>,
        /// Days that request logs of a new organization are kept.
        #[arg(long, value_name = "DAYS")]
        retention_days: Option<u32>,
        /// Fee on what platform credentials cost, such as `2.5`.
        #[arg(long, value_name = "PERCENT")]
        fee_percent: Option<String>,
    },
    /// Lists private networks that were opened.
    Egress,
    /// Opens a private network to new connections.
    Allow {
        /// Network, such as `10.0.0.0/8`, or one address.
        network: String,
        /// Ports, such as `443,8000-8999`, or `any`.
        #[arg(long)]
        ports: String,
        /// Why, for the audit log.
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Closes a private network to new connections.
    Deny {
        /// Id of the rule: `egr_...`.
        rule: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Lists what was changed, by whom and when.
    List {
        #[command(flatten)]
        owner: OwnerArgs,
        /// Only of this user or token.
        #[arg(long)]
        actor: Option<String>,
        /// Only this action, such as `project.serve`.
        #[arg(long)]
        action: Option<String>,
        /// Only about this object.
        #[arg(long)]
        object: Option<String>,
        /// Events at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Checks that no event was changed or removed.
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// New file.
    pub(crate) file: PathBuf,
    /// Settings file of the gateway, for its `data_dir`.
    #[arg(short, long, value_name = "FILE", env = "MILLRACE_CONFIG", default_value = "/etc/millrace/millrace.yaml")]
    pub(crate) config: PathBuf,
    /// Folder of the gateway's store.
    #[arg(long, value_name = "FOLDER", env = "MILLRACE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}
