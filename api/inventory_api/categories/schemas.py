from inventory_api.fields import Input, Name, Output, Shown


class CategoryCreate(Input):
    name: Name


class CategoryShown(Output):
    id: int
    name: str
    created_at: Shown
