from inventory_api.fields import Email, Input, Name, NewPassword, Output, Shown
from inventory_api.users.models import Role


class UserCreate(Input):
    email: Email
    name: Name
    role: Role = Role.MEMBER
    password: NewPassword


class UserShown(Output):
    id: int
    email: str
    name: str
    role: Role
    active: bool
    created_at: Shown
