from inventory_api.fields import Email, GivenPassword, Input


class SignIn(Input):
    email: Email
    password: GivenPassword
